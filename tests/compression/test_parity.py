import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest

from tests.messages import exactly
from tests.toys import classifier_of, convert_here, texts_of_words
from tfkd import artifacts
from tfkd.compression import flatbuffer, recipes
from tfkd.compression.calibration import Calibration
from tfkd.compression.export import HeldOut, check_file, export, is_kept
from tfkd.compression.file_seal import sealed
from tfkd.compression.litert import LiteRTModel
from tfkd.compression.parity import check_parity, check_replaceable, keep
from tfkd.compression.recipes import Recipe
from tfkd.errors import ArtifactError, ConversionError
from tfkd.models.without_encoder import build_bilstm

RECIPE = Recipe(
    name="test",
    summary="For tests.",
    when_to_use="Never.",
    minimum_agreement=0.75,
    maximum_logit_difference=0.5,
    maximum_score_difference=0.25,
)
LOGITS = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, -1.0], [-1.0, 0.0, 1.0], [5.0, 0.0, 0.0]])
BOTH = ("float32", "dynamic_int8")
TEXTS = texts_of_words(40, 60)


def moved(row, column, value):
    logits = LOGITS.copy()
    logits[row, column] += value
    return logits


def test_equal_logits_pass():
    report = check_parity(LOGITS, LOGITS, RECIPE)
    assert (report.agreement, report.largest_logit_difference) == (1.0, 0.0)
    assert (report.num_texts, report.has_nan, report.passed) == (4, False, True)


def test_a_changed_answer_counts_one_text():
    report = check_parity(LOGITS[:2], LOGITS[:2] + [[0, 0.25, 0], [0, 0, 0]], RECIPE)
    assert (report.agreement, report.largest_logit_difference) == (1.0, 0.25)
    report = check_parity(LOGITS, moved(2, 1, 1.5), RECIPE)
    assert (report.agreement, report.largest_logit_difference) == (0.75, 1.5)
    assert not report.passed


def test_both_limits_include_their_ends():
    assert check_parity(LOGITS, moved(0, 0, 0.5), RECIPE).passed
    assert not check_parity(LOGITS, moved(0, 0, -0.5001), RECIPE).passed
    near_tie = np.array([[0.1, 0.0]] * 4)
    flipped = near_tie.copy()
    flipped[:1, 1] = 0.2
    assert check_parity(near_tie, flipped, RECIPE).passed
    flipped[:2, 1] = 0.2
    report = check_parity(near_tie, flipped, RECIPE)
    assert (report.agreement, report.passed) == (0.5, False)


def test_multi_label_counts_decisions_at_one_half():
    expected = np.array([[0.1, -2.0], [3.0, -0.1]])
    report = check_parity(expected, expected - [[0.2, 0.0], [0.0, 0.0]], RECIPE, "multi_label")
    assert report.agreement == 0.75
    assert report.largest_logit_difference == pytest.approx(0.2)
    assert report.passed


def test_multi_label_counts_decisions_at_the_thresholds_of_the_labels():
    expected = np.array([[0.1, -2.0], [3.0, -0.1]])
    file = expected - [[0.2, 0.0], [0.0, 0.0]]
    report = check_parity(expected, file, RECIPE, "multi_label", [0.4, 0.5])
    assert report.agreement == 1.0
    # A probability of 0.95 is a logit of 2.94: the file's 2.9 is below, the model's 3 above.
    report = check_parity(expected, expected - 0.1, RECIPE, "multi_label", [0.95, 0.0])
    assert report.agreement == 0.75


def test_regression_is_measured_in_the_spread_of_the_scores():
    scores = np.array([[0.0], [200.0], [0.0], [200.0]])  # standard deviation 100
    report = check_parity(scores, scores + 25.0, RECIPE, "regression")
    assert (report.agreement, report.minimum_agreement) == (None, None)
    assert (report.allowed_logit_difference, report.passed) == (25.0, True)
    assert not check_parity(scores, scores + 25.1, RECIPE, "regression").passed


def test_a_constant_score_is_allowed_float_noise():
    scores = np.full((3, 1), 2.5)
    report = check_parity(scores, scores + 2e-6, RECIPE, "regression")
    assert (report.allowed_logit_difference, report.passed) == (1e-5, True)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression"])
def test_logits_that_are_not_finite_never_pass(value, task):
    broken = LOGITS.copy()
    broken[3, 2] = value
    for pair in ((LOGITS, broken), (broken, LOGITS), (broken, broken)):
        report = check_parity(*pair, RECIPE, task)
        assert (report.has_nan, report.passed) == (True, False)
        assert report.largest_logit_difference == np.inf


def test_the_report_is_plain_json():
    report = check_parity(LOGITS, moved(0, 0, 0.25), RECIPE)
    assert json.loads(json.dumps(report.to_dict())) == {
        "recipe": "test",
        "task": "single_label",
        "num_texts": 4,
        "agreement": 1.0,
        "largest_logit_difference": 0.25,
        "has_nan": False,
        "minimum_agreement": 0.75,
        "allowed_logit_difference": 0.5,
        "size_bytes": 0,
        "difference_by_length": {},
        "passed": True,
    }


def test_arrays_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match=r"n at least 1\. Received: \(4, 3\) and \(2, 3\)$"):
        check_parity(LOGITS, LOGITS[:2], RECIPE)
    with pytest.raises(ValueError, match=r"n at least 1\. Received: \(0, 3\) and \(0, 3\)$"):
        check_parity(LOGITS[:0], LOGITS[:0], RECIPE)
    with pytest.raises(ValueError, match=r"Received: task='ranking'$"):
        check_parity(LOGITS, LOGITS, RECIPE, "ranking")


def saved_classifier(folder, scale):
    """The mean of its token vectors, with a table of `scale` in each entry's spread."""
    keras.utils.set_random_seed(0)
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name)
        for name in ("token_ids", "padding_mask")
    }
    table = keras.initializers.RandomNormal(stddev=scale)
    vectors = keras.layers.Embedding(4000, 32, embeddings_initializer=table)(inputs["token_ids"])
    is_real = keras.ops.expand_dims(keras.ops.cast(inputs["padding_mask"], "float32"), -1)
    pooled = keras.ops.sum(vectors * is_real, axis=1) / keras.ops.sum(is_real, axis=1)
    model = keras.Model(inputs, keras.layers.Dense(4)(pooled))
    classifier = classifier_of(model, length=48, labels=("a", "b", "c", "d"))
    classifier.save(folder)
    return classifier


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    """An export whose int8 file is asked for more than int8 can give: the gate must part them."""
    folder = tmp_path_factory.mktemp("run") / "student"
    classifier = saved_classifier(folder, scale=3.0)
    strict = dataclasses.replace(
        recipes.find("dynamic_int8"), maximum_logit_difference=1e-4, maximum_score_difference=1e-4
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(recipes.RECIPES, "dynamic_int8", strict)
        with pytest.raises(ConversionError, match="dynamic_int8") as refusal:
            export(folder, HeldOut(classifier, TEXTS), BOTH, lengths=(16, 48))
    return folder, classifier, str(refusal.value)


def test_a_file_that_passes_is_kept_with_its_report(gated):
    folder, _, _ = gated
    file, report = folder / "float32.tflite", artifacts.read_json(folder / "float32.json")
    assert report["sha256"] == artifacts.file_sha256(file)
    assert report["model_sha256"] == artifacts.file_sha256(folder / "model.keras")
    assert report["size_bytes"] == file.stat().st_size
    assert report["versions"]["keras"] == keras.__version__
    assert (report["passed"], report["has_nan"], report["agreement"]) == (True, False, 1.0)
    assert report["num_texts"] == 40
    assert report["largest_logit_difference"] < 1e-5
    assert list(report["difference_by_length"]) == ["16", "48"]
    assert max(report["difference_by_length"].values()) < 1e-5


def test_a_file_that_fails_is_not_left_behind(gated):
    folder, _, _ = gated
    assert sorted(path.name for path in folder.iterdir()) == [
        "classifier.json",
        "float32.json",
        "float32.tflite",
        "labels.txt",
        "model.keras",
        "tokenizer",
    ]


def test_the_refusal_names_figures_and_limits(gated):
    _, _, message = gated
    start = (
        "Expected from dynamic_int8.tflite agreement of at least 0.98 and logits within 0.0001 of "
        "the Keras model's. Received: agreement 1.0000 and largest difference 0.0"
    )
    assert message.startswith(start)
    assert message.endswith(" on 40 texts. The file was not kept. Leave this recipe out.")


def test_the_kept_file_answers_like_the_student(gated):
    folder, classifier, _ = gated
    texts = TEXTS[:10]
    np.testing.assert_allclose(
        LiteRTModel(folder / "float32.tflite").predict(texts),
        classifier.predict(texts),
        rtol=0,
        atol=1e-5,
    )


def test_a_model_with_nan_weights_is_refused_and_an_older_file_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("tfkd.compression.export.convert", convert_here)
    folder = tmp_path / "student"
    classifier = saved_classifier(folder, scale=float("nan"))
    (folder / "float32.tflite").write_bytes(b"older")
    with pytest.raises(
        ConversionError,
        match=r"^Expected finite logits from float32\.tflite\. Received: NaN or infinite ones from "
        r"the file or its Keras model\. The file was not kept\. Train the model again with a lower "
        r"--learning-rate\.$",
    ):
        export(
            folder, HeldOut(classifier, TEXTS[:4]), ["float32"], output_folder=tmp_path / "files"
        )
    assert list((tmp_path / "files").iterdir()) == []


def test_nothing_to_compare_on_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^Expected at least one text to compare on\."):
        HeldOut(None, [])


def test_a_kept_file_passes_again(gated):
    folder, classifier, _ = gated
    report = check_file(folder / "float32.tflite", "float32", HeldOut(classifier, TEXTS[:20]))
    assert (report.passed, report.num_texts) == (True, 20)
    assert is_kept(folder, "float32") and not is_kept(folder, "dynamic_int8")


def corrupted(file, folder):
    """A file with the two halves of its largest weight changed over, as if it was written so."""
    content = bytearray(file.read_bytes())
    model = flatbuffer.read(bytes(content))
    weight = max((bytes(b.data) for b in model.buffers if b.data is not None), key=len)
    start = bytes(content).index(weight)
    half = len(weight) // 2
    content[start : start + len(weight)] = weight[half:] + weight[:half]
    path = folder / file.name
    path.write_bytes(sealed(bytes(content)))
    return path


def test_a_file_with_a_corrupted_weight_is_refused(gated, tmp_path):
    folder, classifier, _ = gated
    path = corrupted(folder / "float32.tflite", tmp_path)
    assert LiteRTModel(path, classifier.tokenizer).predict(["rain"]).shape == (1, 4)
    with pytest.raises(
        ConversionError,
        match=r"^Expected from float32\.tflite agreement of at least 0\.999 and logits within "
        r"0\.001 of the Keras model's\. Received: ",
    ):
        check_file(path, "float32", HeldOut(classifier, TEXTS[:20]))


def test_a_single_changed_bit_makes_a_file_another(gated, tmp_path):
    folder, _, _ = gated
    copy = shutil.copytree(folder, tmp_path / "student")
    assert is_kept(copy, "float32")
    file = copy / "float32.tflite"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    told = []
    assert not is_kept(copy, "float32", told.append)
    assert told == [
        f"Expected {file} as tfkd wrote it. Received: another content. It is made anew."
    ]


def test_a_missing_file_is_named(gated, tmp_path):
    _, classifier, _ = gated
    with pytest.raises(ArtifactError, match=r"^Expected the LiteRT file .+int4\.tflite\. It does"):
        check_file(tmp_path / "int4.tflite", "int4", HeldOut(classifier, TEXTS[:1]))


def test_a_converter_that_gives_up_leaves_no_file_and_one_line(tmp_path):
    """No calibrator follows an LSTM's loop; when one does, `static_int8` may say so."""
    classifier = classifier_of(build_bilstm(60, 2, width=4, units=4), length=8, labels=("a", "b"))
    classifier.save(tmp_path / "student")
    calibration = Calibration(classifier.encode(TEXTS[:2]), seed=0)
    with pytest.raises(
        ConversionError,
        match=r"^Expected LiteRT files of .+student\. The converter \w+( with SIG[A-Z]+)? while "
        r"writing static_int8\.tflite: .+\. Leave that recipe or layer out\.$",
    ):
        export(
            tmp_path / "student",
            HeldOut(classifier, TEXTS[:4]),
            ["static_int8"],
            output_folder=tmp_path / "files",
            calibration=calibration,
        )
    assert list((tmp_path / "files").iterdir()) == []


def test_the_keras_model_is_asked_once_for_all_files(gated):
    folder, classifier, _ = gated

    class Counted:
        """The classifier, with a count of what it is asked."""

        num_encoded = num_rows = 0

        def encode(self, texts, length=None):
            self.num_encoded += len(texts)
            return classifier.encode(texts, length)

        def predict_encoded(self, arrays):
            self.num_rows += len(arrays["token_ids"])
            return classifier.predict_encoded(arrays)

    counted, texts = Counted(), TEXTS[:20]
    held_out = HeldOut(counted, texts)
    first = check_file(folder / "float32.tflite", "float32", held_out)
    asked = counted.num_encoded, counted.num_rows
    second = check_file(folder / "float32.tflite", "float32", held_out)
    assert (counted.num_encoded, counted.num_rows) == asked
    assert counted.num_encoded == 20
    alone = HeldOut(classifier, texts)
    assert first == second == check_file(folder / "float32.tflite", "float32", alone)


def test_export_replaces_only_a_folder_that_it_wrote(tmp_path):
    path, model = tmp_path / "out" / "saved-model", tmp_path / "model"
    artifacts.write_text(model / "model.keras", "weights")
    path.parent.mkdir()

    def made(content):
        folder = tmp_path / "part"
        artifacts.write_text(folder / "variables" / "index", content)
        return folder

    keep(made("1"), path, {}, model)
    check_replaceable(path)
    keep(made("2"), path, {}, model)
    assert (path / "variables" / "index").read_text() == "2"
    artifacts.write_text(path / "variables" / "notes.txt", "mine")
    message = (
        f"Expected only what `tfkd export` wrote in {path}, to replace it. Received: "
        "variables/notes.txt. Give another --output-dir."
    )
    for replace in (check_replaceable, lambda path: keep(made("3"), path, {}, model)):
        with pytest.raises(ArtifactError, match=exactly(message)):
            replace(path)
    assert (path / "variables" / "notes.txt").read_text() == "mine"
    assert (path / "variables" / "index").read_text() == "2"


def test_export_replaces_no_folder_of_another_program(tmp_path):
    path = tmp_path / "saved-model"
    artifacts.write_text(path / "saved_model.pb", "theirs")
    message = r"^Expected only what `tfkd export` wrote in .* Received: saved_model\.pb\. Give"
    with pytest.raises(ArtifactError, match=message):
        check_replaceable(path)
    for number in range(4):
        artifacts.write_text(path / f"{number}.bin", "theirs")
    with pytest.raises(ArtifactError, match=r"Received: 0.bin, 1.bin, 2.bin, ...\. Give another"):
        check_replaceable(path)


def test_export_replaces_no_file_of_another_program(tmp_path):
    path, record = tmp_path / "float32.tflite", tmp_path / "float32.json"
    check_replaceable(path)
    path.write_text("theirs")
    message = (
        f"Expected only what `tfkd export` wrote in {path}, to replace it. Received: "
        "{}. Give another --output-dir."
    )
    with pytest.raises(ArtifactError, match=exactly(message.format("float32.tflite"))):
        check_replaceable(path)
    record.write_text('{"lines": 3}')
    with pytest.raises(
        ArtifactError, match=exactly(message.format("float32.tflite, float32.json"))
    ):
        check_replaceable(path)
    path.unlink()
    with pytest.raises(ArtifactError, match=exactly(message.format("float32.json"))):
        check_replaceable(path)
    # As `keep` writes it.
    record.write_text('{"model_sha256": "0a", "sha256": "1b"}')
    path.write_text("ours")
    check_replaceable(path)
