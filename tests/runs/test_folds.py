"""Parts of a file that take turns as test: which runs are made, which are kept, and their table."""

import json

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from tests.messages import exactly
from tests.toys import QUIET
from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.training import DistillConfig
from tfkd.errors import ArtifactError, ConfigError
from tfkd.evaluation.rows import Row
from tfkd.runs.folds import Folds, half_width, in_folds
from tfkd.runs.material import prepare
from tfkd.runs.record import shared_record

VALUES = {"teacher": (0.9, 0.8, 0.85), "student": (0.8, 0.7, 0.9)}


class Trainer:
    """Writes runs of figures that are known, in place of trainings."""

    def __init__(self):
        self.made = []

    def __call__(self, config, progress):
        fold = int(config.output_dir.name)
        self.made.append(fold)
        material = prepare(config, config.output_dir.parent, QUIET)
        run = RunFolder(config.output_dir)
        run.start("distill", config.to_dict(), config.overwrite, material.record())
        rows = [
            Row(
                dataset="a",
                arm=arm,
                model="cnn_small",
                recipe="keras",
                seed=0,
                metrics={"accuracy": values[fold - 1]},
                size_bytes=None,
                parameters=None,
                latency=None,
                command="",
            ).to_dict()
            for arm, values in VALUES.items()
        ]
        run.finish({"rows": rows, "metric": "accuracy", **shared_record(material, 0)})


@pytest.fixture
def config(tmp_path):
    lines = [f"text {row},{row % 2}\n" for row in range(90)]
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(lines))
    return DistillConfig(
        dataset=str(tmp_path / "a.csv"),
        teacher="cnn_small",
        student="cnn_small",
        output_dir=tmp_path / "runs" / "a",
        folds=3,
        quiet=True,
    )


def made(config, trainer, **changes):
    return in_folds(config.replace(**changes), RunFolder(config.output_dir), QUIET, trainer)


def test_each_part_is_tested_once_and_its_figures_are_collected(config):
    trainer = Trainer()
    found = made(config, trainer)
    assert trainer.made == [1, 2, 3]
    folder = config.output_dir.with_name("a-folds")
    assert found == Folds(str(folder), "accuracy", (30,) * 3, (51,) * 3, VALUES)
    settings = [artifacts.read_json(folder / str(fold) / "config.json") for fold in (1, 2, 3)]
    assert [one["test_split"] for one in settings] == ["1/3", "2/3", "3/3"]
    assert [(one["folds"], one["recipes"], one["timing"]) for one in settings] == [
        (None, [], False)
    ] * 3
    kept = artifacts.read_json(folder / "folds.json")
    assert kept == json.loads(json.dumps(found.to_dict()))
    assert kept["values"] == {arm: list(values) for arm, values in VALUES.items()}
    assert kept["means"] == pytest.approx({"teacher": 0.85, "student": 0.8})
    for arm, values in VALUES.items():
        expected = ttest_1samp(values, 0).confidence_interval(0.95)
        assert kept["intervals"][arm] == pytest.approx([expected.low, expected.high])
    page = (folder / "README.md").read_text()
    assert page.startswith(
        "# a in 3 parts\n\n90 rows, each tested once, in 3 parts by models that learned from 51 "
        "others:\n\n"
        "| Arm | Accuracy, mean of 3 | +- | Lowest | Highest |\n"
        "| :--- | ---: | ---: | ---: | ---: |\n"
        "| teacher | 0.8500 | 0.1242 | 0.8000 | 0.9000 |\n"
        "| student | 0.8000 | 0.2484 | 0.7000 | 0.9000 |\n\n"
        "The models of a part were trained without it, teachers as well. "
    )
    assert "--folds 3\n" in page


def test_what_is_finished_is_kept(config):
    trainer = Trainer()
    first = made(config, trainer)
    assert made(config, trainer) == first == made(config, trainer, overwrite=True)
    assert trainer.made == [1, 2, 3]
    # As if it had been killed in the second.
    (config.output_dir.with_name("a-folds") / "2" / "metrics.json").unlink()
    assert made(config, trainer) == first
    assert trainer.made == [1, 2, 3, 2]
    assert made(config, trainer, temperature=3.0) == first
    assert trainer.made[4:] == [1, 2, 3]


def test_parts_of_other_rows_are_made_anew(config, tmp_path):
    trainer = Trainer()
    made(config, trainer)
    with (tmp_path / "a.csv").open("a") as stream:
        stream.write("one more,1\n")
    assert sum(made(config, trainer).num_rows) == 91
    assert trainer.made == [1, 2, 3] * 2


def test_a_finished_run_is_refused_before_anything_is_trained(config):
    trainer = Trainer()
    run = RunFolder(config.output_dir)
    run.start("distill", config.to_dict(), False)
    run.finish({})
    with pytest.raises(ArtifactError, match="^Expected an output folder without a finished run"):
        made(config, trainer)
    assert trainer.made == []


def test_other_test_rows_beside_folds_are_refused(config):
    message = (
        "Expected no other test rows beside --folds. Received: test_split='2/5'. Leave one of them "
        "out."
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        made(config, Trainer(), test_split="2/5")


def test_half_width_is_students():
    values = np.array([0.8, 0.7, 0.9, 0.85])
    found = ttest_1samp(values, 0).confidence_interval(0.95)
    assert half_width(values) == pytest.approx((found.high - found.low) / 2)
