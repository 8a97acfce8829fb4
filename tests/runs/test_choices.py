"""What the names in a training verb's settings stand for, and that finding out costs no imports."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.hugging_face import write_encoder
from tfkd.artifacts import RunFolder
from tfkd.config.training import DistillConfig, FinetuneConfig
from tfkd.config.verbs import read_toml
from tfkd.errors import ConfigError, DatasetError, ModelError
from tfkd.models.checkpoints import Kind, resolve
from tfkd.runs.choices import check_names, choose, default_model, run_name, slug
from tfkd.runs.teacher import finetune_config


def test_models_left_open_are_the_data_sets_own():
    found = choose(DistillConfig(dataset="demo"))
    assert {role: source.name for role, source in found.items()} == {
        "student": "bert_tiny",
        "teacher": "bert_mini",
    }
    assert list(choose(FinetuneConfig(dataset="demo", model="cnn")).items())[0][0] == "model"
    assert choose(FinetuneConfig(dataset="demo"))["model"].kind is Kind.SIZE


def test_defaults_of_a_data_set_outside_the_catalogue(tmp_path):
    assert default_model(f"{tmp_path}/", "teacher") == "bert_base_en_uncased"
    assert default_model(f"{tmp_path}/", "student") == "bert_tiny_en_uncased"
    assert default_model("ag_news", "student") == "bert_tiny_en_uncased"


@pytest.mark.parametrize("cut", [{"vocabulary_size": 8000}, {"min_count": 2}])
def test_only_a_size_word_has_its_vocabulary_cut(cut, tmp_path):
    choose(DistillConfig(dataset="demo", student="cnn", **cut))
    folder = write_encoder(tmp_path / "encoder", "bert")
    config = DistillConfig(dataset="demo", student=str(folder), **cut)
    message = f"^Expected a student by size word, .* Received: {folder}, which brings its own"
    with pytest.raises(ConfigError, match=message):
        choose(config)


def test_a_student_within_a_budget_is_left_open(tmp_path):
    source = choose(DistillConfig(dataset="ag_news", teacher="cnn", max_mb=1.0))["student"]
    assert (source.name, source.kind) == ("cnn_small", Kind.SIZE)
    named = choose(DistillConfig(dataset="ag_news", teacher="cnn", student="cnn", max_ms=0.2))
    assert named["student"].name == "cnn"
    folder = write_encoder(tmp_path / "encoder", "bert")
    message = "which brings its own. Leave out --max-mb and --max-ms.$"
    with pytest.raises(ConfigError, match=message):
        choose(DistillConfig(dataset="demo", student=str(folder), max_mb=1.0))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"vocabulary_size": 8000}, "--vocabulary-size"),
        ({"min_count": 2}, "--min-count"),
        ({"recipes": ("float16",)}, "--recipe"),
        ({"bottleneck": "mlp"}, "--bottleneck"),
    ],
)
def test_a_budget_decides_alone(given, name):
    message = f"^Expected --max-mb or --max-ms without {name}, which they decide. Received both."
    with pytest.raises(ConfigError, match=message):
        choose(DistillConfig(dataset="demo", student="cnn", max_mb=1.0, **given))


def test_the_folder_of_a_student():
    config = DistillConfig(dataset="demo")
    assert run_name(config, resolve("cnn")) == "demo-cnn"
    assert run_name(config.replace(bottleneck="mlp"), resolve("cnn")) == "demo-cnn-bottleneck"
    bounded = config.replace(max_mb=0.5, max_ms=2.0)
    assert run_name(bounded, resolve("cnn")) == "demo-within-0.5mb-2ms"


@pytest.mark.parametrize("cut", [{"transfer_unit": "sentence"}, {"max_transfer_rows": 9}])
def test_there_must_be_texts_to_take_some_of(cut):
    choose(DistillConfig(dataset="demo", student="cnn", unlabelled="more.txt", **cut))
    with pytest.raises(ConfigError, match="^Expected --unlabelled with --transfer-unit and"):
        choose(DistillConfig(dataset="demo", student="cnn", **cut))


def test_slug(tmp_path):
    (tmp_path / "reviews").mkdir()
    (tmp_path / "mail.csv.gz").touch()
    assert slug("massive/de_de") == "massive_de_de"
    assert slug(f"{tmp_path}/reviews/") == "reviews"
    assert slug(f"{tmp_path}/mail.csv.gz") == "mail"


def test_labels_are_read_as_the_settings_say(tmp_path):
    (tmp_path / "train.csv").write_text("text,labels\na,home;work\nb,food|home;work\n")
    settings = {"dataset": str(tmp_path), "model": "cnn"}
    with pytest.raises(DatasetError, match=r"Give --label-separator\.$"):
        check_names(FinetuneConfig(**settings))
    check_names(FinetuneConfig(**settings, label_separator="|"))
    (tmp_path / "train.csv").write_text('text,label\na,"1,5"\nb,2\n')
    with pytest.raises(DatasetError, match=r"Give --task regression to take it as a number"):
        check_names(FinetuneConfig(**settings))
    check_names(FinetuneConfig(**settings, task="regression"))


def test_the_teacher_reads_the_labels_of_its_student(tmp_path):
    config = DistillConfig(dataset="demo", task="single_label", label_separator="/")
    found = finetune_config(config, resolve("cnn"), RunFolder(tmp_path))
    assert (found.task, found.label_separator) == ("single_label", "/")
    balanced = finetune_config(
        config.replace(class_weight="balanced"), resolve("cnn"), RunFolder(tmp_path)
    )
    assert balanced.class_weight == "balanced"
    assert balanced.output_dir == found.output_dir.with_name("demo-cnn-finetuned-balanced")


def test_names_that_stand_for_nothing(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean `demo`"):
        check_names(DistillConfig(dataset="dmo"))
    with pytest.raises(ModelError, match="^Expected a known model. Received: 'bert_tinny'"):
        check_names(DistillConfig(dataset="demo", student="bert_tinny"))
    with pytest.raises(DatasetError, match="^Expected an existing folder or file"):
        check_names(FinetuneConfig(dataset=f"{tmp_path}/nothing.csv", model="cnn"))
    check_names(DistillConfig(dataset="demo"))


def test_no_heavy_import_is_needed():
    code = (
        "import sys; from tfkd.config.training import DistillConfig;"
        "from tfkd.runs.choices import check_names;"
        "check_names(DistillConfig(dataset='demo'));"
        "print([n for n in ('tensorflow', 'keras', 'keras_hub') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_another_seed_shares_the_split_and_the_teacher():
    first, other = (DistillConfig(dataset="demo", seed=seed) for seed in (0, 5))
    assert (other.split_seed, other.teacher_seed) == (0, 0)
    made = [
        finetune_config(config, resolve("bert_mini"), RunFolder(Path("runs/demo")))
        for config in (first, other)
    ]
    assert made[0] == made[1]
    assert made[0].seed == 0
    told = finetune_config(
        first.replace(split_seed=3, teacher_seed=4), resolve("bert_mini"), RunFolder(Path("runs/x"))
    )
    assert (told.split_seed, told.seed) == (3, 4)


CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))


@pytest.mark.parametrize(
    "path",
    [path for path in CONFIGS if "[distill]" in path.read_text("utf-8")],
    ids=lambda p: p.stem,
)
def test_every_config_of_distill_holds_settings_that_exist(path):
    config = DistillConfig.from_mapping(read_toml(path, "distill"), str(path))
    assert path.stem.startswith(config.dataset)
    assert f"python -m tfkd distill --config configs/{path.name}" in path.read_text("utf-8")
