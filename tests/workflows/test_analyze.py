"""Size and time of architectures: figures by formula, filled texts, tables, one-line errors."""

import dataclasses
import json

import pytest

from tests.toys import Stopped, Stopping, vocabulary_of, wordpiece_tokenizer
from tfkd.compression.recipes import RECIPES
from tfkd.config.training import DEFAULT_RECIPES
from tfkd.config.verbs import ARCHITECTURES, UNCALIBRATED_RECIPES, AnalyzeConfig
from tfkd.data.examples import SINGLE_LABEL
from tfkd.errors import ArtifactError, ConfigError, ConversionError, ModelError
from tfkd.evaluation.architectures import AnalyzeResult, Architecture, Conditions, FileFigures
from tfkd.evaluation.latency import Latency
from tfkd.models.sizes import SIZE_WORDS
from tfkd.runs.architectures import filled_vocabulary
from tfkd.workflows.analyze import _dataset, analyze, filled_texts

pytestmark = pytest.mark.usefixtures("converted_here")
WORDS = ["rain", "goal", "vote", "team", "sun", "##day"]


def tokenizer(words=WORDS):
    return wordpiece_tokenizer(vocabulary_of(words))


def figures(kind, size_bytes, *medians):
    latencies = tuple(Latency(p50, 2 * p50, 3 * p50, 1, 1, 1, 9, 5) for p50 in medians)
    return FileFigures(kind, size_bytes, kind, 0.0, 10 * medians[0], 70_000_000, latencies)


def result(lengths=()):
    base = [figures("keras", 400_000_000, 50, 80), figures("float32", 390_000_000, 40, 60)]
    tiny = [figures("keras", 17_000_000, 5, 4), figures("float32", 16_000_000, 1, 3)]
    return AnalyzeResult(
        (
            Architecture("bert_base", False, 1000, 200, tuple(base)),
            Architecture("runs/tiny", True, 100, 89, tuple(tiny)),
        ),
        Conditions("demo", "f" * 16, 20, 2, 1, lengths, "a vocabulary learned from demo"),
        "python -m tfkd analyze --model bert_base --model runs/tiny",
    )


def test_defaults_are_known_words_and_recipes():
    assert set(ARCHITECTURES) <= set(SIZE_WORDS)
    assert AnalyzeConfig().recipes == DEFAULT_RECIPES
    assert UNCALIBRATED_RECIPES == tuple(
        name
        for name, recipe in RECIPES.items()
        if not recipe.needs_calibration and not recipe.trained
    )


def test_time_ratio_is_to_the_first_model_in_the_same_kind_of_file():
    sizes, first, second = result((32, 64)).tables()
    assert sizes.rows == [
        ("bert_base", "untrained", "1,000", "200", "20%", "400.00", "390.00", "float32"),
        ("runs/tiny", "given", "100", "89", "89%", "17.00", "16.00", "float32"),
    ]
    titles = [table.columns[0].title for table in (first, second)]
    assert titles == ["Model, 32 tokens", "Model, 64 tokens"]
    assert [row[:2] + row[3:6] for row in first.rows] == [
        ("bert_base", "keras", "50.00", "100.00", "1.000"),
        ("runs/tiny", "keras", "5.00", "10.00", "0.100"),
        ("bert_base", "float32", "40.00", "80.00", "1.000"),
        ("runs/tiny", "float32", "1.00", "2.00", "0.025"),
    ]
    assert [row[5] for row in second.rows] == ["1.000", "0.050", "1.000", "0.050"]
    # One cold call, whatever the length.
    assert first.columns[2] == second.columns[2]


def test_page_has_the_tables_the_note_and_the_command():
    page = result().markdown()
    assert page.startswith("# Size and time\n\n| Model | Weights | Parameters |")
    assert "| :--- | :--- | ---: | ---: | ---: | ---: | ---: | :--- |" in page
    assert "| runs/tiny | float32 | 10.0 | 1.00 | 2.00 | 0.025 | 70 |" in page
    assert page.endswith("\n\n    python -m tfkd analyze --model bert_base --model runs/tiny\n")
    written = json.loads(json.dumps(result((32, 64)).to_dict()))
    assert written["conditions"]["texts"] == 20
    assert AnalyzeResult.from_dict(written) == result((32, 64))
    assert "Untrained models have random weights" in result().note()
    given = dataclasses.replace(result(), architectures=result().architectures[1:])
    assert given.note().endswith("to the first model's file of the same kind.")


def test_filled_vocabulary_has_the_rows_and_the_tokens_of_before():
    small = tokenizer()
    filled = filled_vocabulary(small, 40)
    assert filled.vocabulary_size == 40
    text = ["Rain [unused12] Sunday team"]
    for name, values in small.encode(text).items():
        assert (filled.encode(text)[name] == values).all()
    message = r"^Expected a tokenizer of at most 10 tokens for the size words. Received: 11."
    with pytest.raises(ModelError, match=message):
        filled_vocabulary(small, 10)


def test_filled_texts_hold_as_many_words_as_fit_for_every_tokenizer():
    whole, pieces = tokenizer(["rain", "sunday", "goal"]), tokenizer()
    texts = ["sunday", "rain goal", "sunday sunday"]
    # [CLS] and [SEP] leave six tokens; a Sunday is one or two of them.
    assert filled_texts(texts, 8, [whole]) == [
        "sunday rain goal sunday sunday sunday",
        "rain goal sunday sunday sunday rain",
        "sunday sunday sunday rain goal sunday",
    ]
    assert filled_texts(texts, 8, [whole, pieces]) == [
        "sunday rain goal sunday",
        "rain goal sunday sunday",
        "sunday sunday sunday",
    ]


def four_classes(folder):
    """A data set whose vocabulary is learned in no time."""
    rows = [f"{word} number {row} again,{row % 4}" for row, word in enumerate(WORDS * 50)]
    (folder / "train.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    return f"{folder}/"


@pytest.fixture(scope="module")
def small_cnn(tmp_path_factory):
    """The whole verb on one small model, its LiteRT file and two lengths, in two sessions."""
    folder = tmp_path_factory.mktemp("report")
    dataset = four_classes(tmp_path_factory.mktemp("four"))
    entry = dataclasses.replace(SIZE_WORDS["cnn_small"], vocabulary_size=3000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZE_WORDS, "cnn_small", entry)
        patch.chdir(folder)
        config = AnalyzeConfig(
            models=("cnn_small", "cnn_small"),
            dataset=dataset,
            texts=4,
            rounds=1,
            lengths=(16, 32),
            recipes=("dynamic_int8",),
            output_dir=folder,
            quiet=True,
        )
        with pytest.raises(Stopped, match="^time 2 files, 1 rounds$"):
            analyze(config, Stopping(start="time "))
        assert list(folder.glob("analysis*")) == []
        # What was built before the end of the first session is not built again.
        patch.setattr("tfkd.runs.architectures.convert", None)
        return analyze(config), folder, config


def test_figures_of_a_whole_call(small_cnn):
    found, folder, config = small_cnn
    (model,) = found.architectures
    head = 3 * 64 * 256 + 256 + 256 * 4 + 4
    assert (model.table_parameters, model.parameters) == (3000 * 64, 3000 * 64 + head)
    assert not model.is_trained
    kept, int8 = model.files
    assert (kept.kind, int8.kind, int8.graph) == ("keras", "dynamic_int8", "lean")
    assert 4 * model.parameters < kept.size_bytes < 4 * model.parameters + 100_000
    assert model.parameters < int8.size_bytes < 2 * model.parameters
    assert 0 < int8.logit_difference < 0.1
    assert int8.peak_memory_bytes < kept.peak_memory_bytes
    for file in model.files:
        assert [latency.num_calls for latency in file.latencies] == [4, 4]
        assert file.latencies[0].p50_ms > 0
    assert int8.first_call_ms > 0
    # It compiles; what another program takes from the machine is little beside that.
    assert kept.first_call_ms > kept.latencies[0].p50_ms
    written = json.loads((folder / "analysis.json").read_text())
    assert written == json.loads(json.dumps(found.to_dict()))
    assert (folder / "analysis.md").read_text() == found.markdown()
    assert list(folder.glob("saved_models/cache/analysis/*")) == []
    with pytest.raises(ArtifactError, match=r"^Expected no file .*analysis\.json\. It exists\."):
        analyze(config)


def test_what_cannot_be_analyzed_is_said_before_anything_is_built(tmp_path):
    with pytest.raises(ModelError, match="^Expected a known model. Received: 'bert_bose'"):
        analyze(AnalyzeConfig(models=("bert_bose",), quiet=True))
    pairs = "".join(f"a {row},b,{row % 2}\n" for row in range(40))
    (tmp_path / "train.csv").write_text(f"sentence1,sentence2,label\n{pairs}")
    config = AnalyzeConfig(dataset=str(tmp_path), lengths=(16,), quiet=True)
    with pytest.raises(ConfigError, match="^Expected a data set of single texts to fill"):
        analyze(config)
    config = AnalyzeConfig(models=("bert_tiny",), tokenizer="bilstm", quiet=True)
    with pytest.raises(ModelError, match="^Expected a model with a tokenizer. Received: bilstm"):
        analyze(config)


def test_labels_are_not_read(tmp_path):
    path = tmp_path / "notes.csv"
    path.write_text("text\nfirst\nsecond\n")
    found = _dataset(AnalyzeConfig(dataset=str(path)))
    assert (found.num_outputs, found.task) == (2, SINGLE_LABEL)
    assert [row.texts for row in found.splits["test"]] == [("first",), ("second",)]
    path.write_text('text,label\nfirst,"1,5"\nsecond,2\n')
    assert len(list(_dataset(AnalyzeConfig(dataset=str(path))).splits["train"])) == 2
    assert _dataset(AnalyzeConfig()).num_outputs == 4


def test_a_model_that_cannot_be_converted_leaves_no_file(tmp_path, monkeypatch):
    def fail(*_):
        raise ConversionError("Expected a file. Received: nothing.")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tfkd.runs.architectures.convert", fail)
    with pytest.raises(ConversionError, match="^Expected a file. Received: nothing.$"):
        dataset = four_classes(tmp_path)
        analyze(AnalyzeConfig(models=("cnn_small",), dataset=dataset, texts=2, quiet=True))
    assert list(tmp_path.glob("saved_models/cache/analysis/*")) == []
