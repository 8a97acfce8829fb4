"""The catalog: names, label order, fields of TFDS, and what a wrong name gets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tfkd.data.catalog import CATALOG, MASSIVE_INTENTS, MASSIVE_LOCALES, find
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL, TASKS
from tfkd.errors import ConfigError

NAMES = (
    "demo ag_news sst2 cola mrpc qqp stsb mnli mnli_mismatched qnli rte wnli emotion massive "
    "goemotions imdb yelp_polarity jigsaw_toxic news_aggregator trec"
).split()


def test_every_set_of_the_mission_is_there():
    assert list(CATALOG) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_is_consistent(name):
    spec = find(name)
    assert spec.name == name
    assert spec.task in TASKS
    assert spec.description.endswith(".")
    assert len(set(spec.label_names)) == len(spec.label_names)
    assert {"train", "test"} <= set(spec.splits)
    assert spec.num_texts in (1, len(spec.text_features))
    if spec.task == MULTI_LABEL:
        assert len(spec.label_features) == len(spec.label_names)
    else:
        assert len(spec.label_features) == 1
    if spec.tfds_name is not None:
        assert spec.host


def test_ag_news_keeps_title_and_description():
    spec = find("ag_news")
    assert spec.tfds_name == "ag_news_subset"
    assert spec.text_features == ("title", "description")
    assert spec.num_texts == 1
    assert spec.label_names == ("World", "Sports", "Business", "Sci/Tech")
    assert spec.splits == {"train": "train", "test": "test"}


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("cola", "mcc"),
        ("mrpc", "f1"),
        ("qqp", "f1"),
        ("stsb", "spearman"),
        ("sst2", "accuracy"),
        ("mnli", "accuracy"),
        ("mnli_mismatched", "accuracy"),
        ("qnli", "accuracy"),
        ("rte", "accuracy"),
        ("wnli", "accuracy"),
        ("goemotions", "macro_f1"),
        ("jigsaw_toxic", "macro_f1"),
        ("massive", "accuracy"),
    ],
)
def test_headline_metrics_are_those_of_the_benchmarks(name, metric):
    assert find(name).metric == metric


@pytest.mark.parametrize(
    ("name", "positive"),
    [("mrpc", "equivalent"), ("qqp", "duplicate"), ("cola", "acceptable")],
)
def test_f1_is_that_of_the_class_glue_scores(name, positive):
    assert find(name).label_names[1] == positive
    assert len(find(name).label_names) == 2


def test_tasks_and_widths():
    assert find("stsb").task == REGRESSION
    assert find("goemotions").task == find("jigsaw_toxic").task == MULTI_LABEL
    assert find("trec").task == SINGLE_LABEL
    assert len(find("goemotions").label_names) == 28
    assert len(MASSIVE_INTENTS) == 60
    assert len(MASSIVE_LOCALES) == len(set(MASSIVE_LOCALES)) == 52


def test_glue_is_judged_on_its_validation_split():
    assert find("rte").splits == {"train": "train", "test": "validation"}
    assert find("mnli").splits["test"] == "validation_matched"
    assert find("mnli_mismatched").splits["test"] == "validation_mismatched"
    assert find("mnli_mismatched").tfds_name == "glue/mnli"


def test_massive_takes_a_language():
    assert find("massive").tfds_name == "massive/en_us"
    assert find("massive").folder == "massive_en_us"
    german = find("massive/de_de")
    assert (german.tfds_name, german.folder) == ("massive/de_de", "massive_de_de")
    assert find("massive_de_de").tfds_name == "massive/de_de"
    assert find("massive/de-DE").tfds_name == "massive/de_de"
    assert find("massive_en_us").folder == "massive_en_us"


def test_unknown_language_offers_the_nearest():
    message = r"^Expected a language of massive\. Received: `massive/de_dd`\. "
    with pytest.raises(ConfigError, match=message + r"Did you mean `massive/de_de`\?$"):
        find("massive/de_dd")


def test_unknown_name_offers_the_nearest():
    message = (
        r"^Expected a known data set or an existing folder or file\. Received: `ag_new`\. "
        r"Did you mean `ag_news`\?$"
    )
    with pytest.raises(ConfigError, match=message):
        find("ag_new")


def test_default_models():
    assert (find("demo").teacher, find("demo").student) == ("bert_mini", "bert_tiny")
    assert find("imdb").teacher == "bert_base_en_uncased"
    assert find("imdb").student == "bert_tiny_en_uncased"
    assert find("massive/de_de").teacher == "bert_base_multi"


def test_importing_the_catalog_is_light():
    program = (
        "import sys, tfkd.data.catalog; "
        "print([n for n in ('tensorflow', 'keras', 'tensorflow_datasets', 'numpy', 'pyarrow') "
        "if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif("TFKD_DATA_DIR" not in os.environ, reason="TFKD_DATA_DIR is not set")
@pytest.mark.parametrize("name", NAMES)
def test_label_names_agree_with_the_local_folders(name):
    path = Path(os.environ["TFKD_DATA_DIR"]) / find(name).folder / "labels.txt"
    if path.is_file():
        assert tuple(path.read_text(encoding="utf-8").splitlines()) == find(name).label_names
