"""In one command a data file is parsed once, and a model scores a split once."""

import hashlib
from collections import Counter

import numpy as np
import pytest

from tests.openings import Openings
from tests.toys import QUIET
from tfkd.artifacts import RunFolder
from tfkd.config.training import DistillConfig
from tfkd.config.verbs import QuantizeConfig
from tfkd.evaluation.latency import Latency
from tfkd.models.classifier import TextClassifier
from tfkd.runs.choices import check_names
from tfkd.runs.costs import Cost
from tfkd.runs.material import prepare
from tfkd.runs.own_data import own_config
from tfkd.runs.record import KeptMixture, read_metrics
from tfkd.runs.teacher import train_logits
from tfkd.workflows import distill as distill_verb
from tfkd.workflows import quantize as quantize_verb

pytestmark = pytest.mark.usefixtures("converted_here")
NUM_TRAIN, NUM_TEST, NUM_VALIDATION = 180, 50, 36
WORDS = {"sea": "boat harbour wave sail".split(), "hill": "stone path summit goat".split()}


class Scorings:
    """Counts how often a model scores a split, and a file of it.

    Models are told apart by their weights, so each epoch of a training has a model of its own;
    splits by their number of rows.
    """

    def __init__(self, patch):
        self.of_models, self.of_files = Counter(), Counter()
        score, file_logits = TextClassifier.score, distill_verb.file_logits

        def counted_score(classifier, tokens, start=0, *rest):
            digest = hashlib.sha256()
            for weights in classifier.model.get_weights():
                digest.update(np.ascontiguousarray(weights).data)
            self.of_models[digest.hexdigest(), len(tokens), start] += 1
            return score(classifier, tokens, start, *rest)

        def counted_file_logits(path, tokens, progress):
            self.of_files[path.name, len(tokens)] += 1
            return file_logits(path, tokens, progress)

        patch.setattr(TextClassifier, "score", counted_score)
        patch.setattr(distill_verb, "file_logits", counted_file_logits)
        patch.setattr(quantize_verb, "file_logits", counted_file_logits)

    def of_split(self, num_rows):
        """How often each model scored a split of so many rows."""
        return [count for (_, rows, _), count in self.of_models.items() if rows == num_rows]


def write_rows(path, count, seed):
    random = np.random.default_rng(seed)
    lines = ["text,label"]
    for row in range(count):
        label = ("sea", "hill")[row % 2]
        lines.append(f"{' '.join(random.choice(WORDS[label], 5))} {row},{label}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "walks"
    folder.mkdir()
    write_rows(folder / "train.csv", NUM_TRAIN, 0)
    write_rows(folder / "test.csv", NUM_TEST, 1)
    return folder


@pytest.fixture(scope="module")
def distilled(data, tmp_path_factory):
    """The run, and what making it opened and scored."""
    config = DistillConfig(
        dataset=str(data),
        output_dir=tmp_path_factory.mktemp("saved_models") / "walks",
        validation_fraction=0.2,
        teacher="cnn",
        teacher_epochs=1,
        student="cnn_small",
        epochs=2,
        augmented_copies=1,
        recipes=("float32",),
        quiet=True,
    )
    # Times are taken by other processes, which read no data.
    costs = [Cost("", "", 1, 1, Latency(*[1.0] * 7, 1)) for _ in range(3)]
    with pytest.MonkeyPatch.context() as patch, Openings() as openings:
        patch.setattr(distill_verb, "measure_costs", lambda *_, **__: costs)
        scorings = Scorings(patch)
        # As the command line does, before TensorFlow is loaded.
        check_names(config)
        distill_verb.distill(config)
    return config.output_dir, openings, scorings


@pytest.mark.parametrize("name", ["train.csv", "test.csv"])
def test_distill_opens_a_data_file_at_most_twice(distilled, data, name):
    """Once for its header, once for its rows."""
    assert distilled[1].of(data / name) == {"train.csv": 2, "test.csv": 1}[name]


def test_distill_has_each_model_score_each_split_once(distilled):
    scorings = distilled[2]
    # Teacher, student, control.
    assert scorings.of_split(NUM_TEST) == [1, 1, 1]
    # One epoch of the teacher, two each of student and control. All are asked again when they are
    # compared there: teacher and control before the student is trained, student and control after.
    assert sorted(scorings.of_split(NUM_VALIDATION)) == [1, 1, 2, 2, 3]
    # The teacher and, since it learned as little as that in an epoch, the control beside it, with
    # an altered copy of each row.
    assert scorings.of_split(2 * (NUM_TRAIN - NUM_VALIDATION)) == [1, 1]
    assert len(scorings.of_models) == 3 + 5 + 2
    assert scorings.of_files == {("float32.tflite", NUM_TEST): 1}


def test_what_teacher_and_control_said_together_is_found_again(distilled):
    """For recipes that train, which a later command may ask for."""
    run = RunFolder(distilled[0])
    material = prepare(own_config(run, None, None), run.path.parent, QUIET)
    kept = KeptMixture.read(run)
    assert list(kept.folders) == ["teacher", "control"]
    # Moved with the run.
    assert kept.folders["control"] == "control"
    models = [TextClassifier.load(run.find(folder)) for folder in kept.folders.values()]
    said = [model.logits(material.tokens("train", model.tokenizer)) for model in models]
    expected = sum(
        weight * logits for weight, logits in zip(kept.mixing.weights, said, strict=True)
    )
    temperature = read_metrics(run)["told_temperature"]
    assert temperature != 1
    np.testing.assert_allclose(train_logits(run, material), expected / temperature, atol=1e-5)


def test_quantize_has_the_student_score_each_split_once(distilled, data):
    config = QuantizeConfig(run=distilled[0], recipes=("float32",), quiet=True)
    with pytest.MonkeyPatch.context() as patch, Openings() as openings:
        scorings = Scorings(patch)
        quantize_verb.quantize(config)
    assert scorings.of_split(NUM_TEST) == scorings.of_split(NUM_VALIDATION) == [1]
    assert len(scorings.of_models) == 2
    assert scorings.of_files == {
        ("float32.tflite", NUM_VALIDATION): 1,
        ("float32.tflite", NUM_TEST): 1,
    }
    assert openings.of(data / "train.csv") <= 2
