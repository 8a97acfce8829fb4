"""Published classifiers as teachers: what is said of them, and what a refused one leaves behind."""

import csv

import keras_hub
import pytest

from tests.hugging_face import write_encoder, write_folder
from tests.toys import Stopped, Stopping, tiny_backbone, vocabulary_of
from tfkd.artifacts import RunFolder
from tfkd.config.training import DistillConfig, FinetuneConfig, PretrainConfig
from tfkd.errors import ArtifactError, ConfigError, ModelError
from tfkd.progress import Progress
from tfkd.runs.choices import put_back_if_refused
from tfkd.workflows.distill import distill
from tfkd.workflows.finetune import finetune
from tfkd.workflows.pretrain import pretrain

WORDS = "oil prices fell the team won late".split()


class Heard(Progress):
    """Keeps what was said."""

    def __init__(self):
        super().__init__(quiet=True)
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.fixture
def data(tmp_path):
    """A data set of three classes, in files."""
    folder = tmp_path / "data"
    folder.mkdir()
    for split, count in (("train", 60), ("validation", 30), ("test", 30)):
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", "label"])
            for row in range(count):
                text = " ".join(WORDS[(row + step) % 7] for step in range(1 + row % 5))
                writer.writerow([f"{text} {row}", ("business", "sports", "world")[row % 3]])
    return str(folder)


def broken_preset(folder):
    """A KerasHub preset whose weights were cut short, which only loading tells."""
    words = vocabulary_of(WORDS)
    tiny_backbone(len(words)).save_to_preset(str(folder))
    keras_hub.models.BertTokenizer(words).save_to_preset(str(folder))
    weights = folder / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:-1000])
    return folder


def names(*labels):
    return {str(index): label for index, label in enumerate(labels)}


def test_which_name_was_taken_for_which_output_is_said_once(data, tmp_path):
    teacher = str(write_folder(tmp_path / "published", "bert", id2label=None))
    heard = Heard()
    heard.say = lambda text: (heard.lines.append(text), Stopping.say(stopping, text))
    stopping = Stopping(start="train student")
    config = DistillConfig(
        dataset=data,
        teacher=teacher,
        student="cnn_small",
        teacher_sequence_length=16,
        output_dir=tmp_path / "run",
    )
    with pytest.raises(Stopped, match="^train student"):
        distill(config, heard)
    assert [line for line in heard.lines if "no names" in line] == [
        f"{teacher} has no names for its classes. Taken in the order of {tmp_path / 'data'}: "
        "LABEL_0 for business, LABEL_1 for sports, LABEL_2 for world."
    ]


@pytest.mark.parametrize("was_there", [True, False])
@pytest.mark.parametrize("verb", ["finetune", "distill"])
def test_refused_classes_leave_the_folder_to_the_corrected_command(verb, was_there, data, tmp_path):
    model = write_folder(tmp_path / "published", "bert", id2label=names("a", "b", "c"))
    run = tmp_path / "run"
    if was_there:
        run.mkdir()
    shared = {"dataset": data, "output_dir": run}
    with pytest.raises(ModelError, match="^Expected a head with the 3 classes"):
        if verb == "finetune":
            finetune(FinetuneConfig(model=str(model), **shared), Progress(quiet=True))
        else:
            config = DistillConfig(teacher=str(model), student="cnn_small", **shared)
            distill(config, Progress(quiet=True))
    assert run.exists() is was_there
    assert not was_there or not list(run.iterdir())


def test_refused_length_leaves_no_folder_of_the_teacher(data, tmp_path):
    """The folder beside the run, in which the teacher is fine-tuned."""
    config = DistillConfig(
        dataset=data,
        teacher=str(write_encoder(tmp_path / "encoder", "bert")),
        student="cnn_small",
        teacher_sequence_length=35,
        output_dir=tmp_path / "runs" / "run",
    )
    with pytest.raises(ModelError, match="^Expected a sequence length of at most 34"):
        distill(config, Progress(quiet=True))
    assert [path.name for path in (tmp_path / "runs").iterdir() if path.name != "cache"] == []


@pytest.mark.parametrize(
    "student, message",
    [
        ("classifier", "^Expected a head with the 3 classes"),
        ("encoder", "^Expected a sequence length of at most 34"),
        ("bert_tiny", "^Expected a sequence length of at most 512"),
        ("preset", "^Expected a loadable model. Received: '.*preset'"),
    ],
)
def test_student_is_refused_before_its_teacher_is_asked(student, message, data, tmp_path):
    folders = {
        "classifier": write_folder(tmp_path / "classifier", "bert", id2label=names("a", "b", "c")),
        "encoder": write_encoder(tmp_path / "encoder", "bert"),
        "preset": broken_preset(tmp_path / "preset"),
    }
    config = DistillConfig(
        dataset=data,
        teacher=str(write_folder(tmp_path / "published", "bert", id2label=None)),
        student=str(folders.get(student, student)),
        sequence_length=600 if student == "bert_tiny" else 35 if student == "encoder" else None,
        output_dir=tmp_path / "run",
    )
    heard = Heard()
    with pytest.raises(ModelError, match=message):
        distill(config, heard)
    assert not (tmp_path / "run").exists()
    assert not [line for line in heard.lines if "no names" in line]


def test_refused_vocabulary_leaves_the_folder_to_the_corrected_command(data, tmp_path):
    """What is known only of the teacher's tokenizer."""
    config = DistillConfig(
        dataset=data,
        teacher=str(write_folder(tmp_path / "published", "bert", id2label=None)),
        teacher_sequence_length=16,
        student="bert_tiny",
        vocabulary_size=3,
        output_dir=tmp_path / "run",
    )
    with pytest.raises(ConfigError, match="^Expected `vocabulary_size` of at least"):
        distill(config, Progress(quiet=True))
    assert not (tmp_path / "run").exists()


def test_general_student_is_refused_before_the_encoder_reads(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("".join(f"{' '.join(WORDS)} {row}\n" for row in range(60)))
    config = PretrainConfig(
        encoder=str(write_encoder(tmp_path / "encoder", "bert")),
        encoder_sequence_length=16,
        student="bert_tiny",
        sequence_length=600,
        texts=(str(text),),
        output_dir=tmp_path / "run",
    )
    with pytest.raises(ModelError, match="^Expected a sequence length of at most 512"):
        pretrain(config, Progress(quiet=True))
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "cache" / "tokens").exists()


def test_refused_encoder_leaves_no_folder_of_a_general_student(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("".join(f"{' '.join(WORDS)} {row}\n" for row in range(60)))
    config = PretrainConfig(
        encoder=str(write_encoder(tmp_path / "encoder", "bert")),
        encoder_sequence_length=35,
        student="cnn_small",
        texts=(str(text),),
        output_dir=tmp_path / "run",
    )
    with pytest.raises(ModelError, match="^Expected a sequence length of at most 34"):
        pretrain(config, Progress(quiet=True))
    assert not (tmp_path / "run").exists()


def test_what_was_there_stays(tmp_path):
    """A run that is gone on with, and another's files."""
    run = RunFolder(tmp_path / "run")
    run.start("finetune", {"dataset": "toy"}, overwrite=False)
    (run.path / "notes.txt").write_text("mine")
    with pytest.raises(ModelError, match="^no$"), put_back_if_refused(run):
        (run.path / "half").write_text("made")
        raise ModelError("no")
    assert sorted(path.name for path in run.path.iterdir()) == ["config.json", "half", "notes.txt"]
    other = RunFolder(tmp_path / "other")
    (other.path / "photos").mkdir(parents=True)
    (other.path / "photos" / "a.jpg").write_text("mine")
    with pytest.raises(ArtifactError, match="holds other files"), put_back_if_refused(other):
        other.start("finetune", {"dataset": "toy"}, overwrite=False)
    assert (other.path / "photos" / "a.jpg").read_text() == "mine"


@pytest.mark.parametrize("error", [ModelError("no"), KeyboardInterrupt("no")])
def test_a_run_stays_until_the_one_that_replaces_it_is_found_good(tmp_path, error):
    run = RunFolder(tmp_path / "run")
    run.start("finetune", {"dataset": "toy"}, overwrite=False)
    for name in ("model/labels.txt", "metrics.json", "qat/notes.txt"):
        (run.path / name).parent.mkdir(exist_ok=True)
        (run.path / name).write_text(name)
    before = contents(run.path)

    def replace(aside):
        run.start("finetune", {"dataset": "other"}, overwrite=True, aside=aside)
        (run.path / "training").mkdir()
        (run.path / "training" / "texts.json").write_text("made")
        assert not run.is_finished

    with (
        pytest.raises(type(error), match="^no$"),
        put_back_if_refused(run, overwrite=True) as aside,
    ):
        replace(aside)
        raise error
    assert contents(run.path) == before
    with put_back_if_refused(run, overwrite=True) as aside:
        replace(aside)
    assert sorted(contents(run.path)) == ["config.json", "qat/notes.txt", "training/texts.json"]


def contents(folder):
    """What the files of a folder hold; it has no empty folder."""
    assert all(any(path.iterdir()) for path in folder.rglob("*") if path.is_dir())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_was_written_goes(tmp_path):
    run = RunFolder(tmp_path / "run")
    with pytest.raises(ModelError, match="^no$"), put_back_if_refused(run):
        run.start("finetune", {"dataset": "toy"}, overwrite=False)
        (run.path / "teacher" / "tokenizer").mkdir(parents=True)
        (run.path / "teacher" / "tokenizer" / "a.json").write_text("made")
        raise ModelError("no")
    assert not run.path.exists()
    with put_back_if_refused(run):
        run.start("finetune", {"dataset": "toy"}, overwrite=False)
    assert run.is_run
