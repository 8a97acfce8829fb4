"""One training in several processes: the same student, whoever is killed and whoever started it."""

import csv
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.messages import exactly
from tests.own_network import own_network
from tests.ray_commands import Command, needs_ray, wait_for
from tests.toys import QUIET, WORDS
from tfkd import cluster
from tfkd.artifacts import RunFolder, read_json
from tfkd.config.training import FinetuneConfig
from tfkd.errors import ConfigError, ModelError
from tfkd.models.checkpoints import resolve
from tfkd.models.classifier import TextClassifier
from tfkd.models.loading import Shape, load_classifier
from tfkd.progress import Progress
from tfkd.runs import strategy
from tfkd.runs.arm import train_arm
from tfkd.runs.budget import STUDENT
from tfkd.runs.material import prepare
from tfkd.runs.training import Objective, plan
from tfkd.workflows.finetune import finetune

SECONDS = 240.0
LABELS = ("water", "land", "sky")
TWO_CORES = ("LOKY_MAX_CPU_COUNT", "2")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Rows with weights, of which the last batch has one alone."""
    folder = tmp_path_factory.mktemp("together")
    random = np.random.default_rng(0)
    for split, count in {"train": 97, "validation": 40, "test": 40}.items():
        with (folder / f"{split}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", "label", "weight"])
            for row in range(count):
                text = " ".join(random.choice(WORDS, random.integers(2, 9)))
                writer.writerow([f"{WORDS[row % 3]} {text}", LABELS[row % 3], 1 + row % 2])
    return FinetuneConfig(
        dataset=f"{folder}/",
        weight_column="weight",
        model="cnn_small",
        batch_size=16,
        epochs=3,
        learning_rate=1e-3,
        backup_seconds=0.0,
        output_dir=folder / "none",
        report=False,
        quiet=True,
    )


@pytest.fixture
def network():
    with own_network():
        yield


@pytest.fixture(scope="module")
def joined(config):
    """The run of two commands that `TF_CONFIG` names, and what the second put out and said."""
    run = config.output_dir.parent / "joined"
    with own_network():
        addresses = cluster.loopback_addresses(2)
        out, said = _joined(config, run, addresses)
    return run, out, said


def _joined(config, run, addresses):
    line = [sys.executable, "-m", "tfkd", "finetune", "--dataset", config.dataset]
    line += ["--strategy", "multi-worker", "--model", config.model, "--output-dir", str(run)]
    environment = {**os.environ, cluster.TF_CONFIG: cluster.tf_config(addresses, 1)}
    with (
        pytest.MonkeyPatch.context() as patch,
        subprocess.Popen(
            line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as other,
    ):
        patch.setenv(cluster.TF_CONFIG, cluster.tf_config(addresses, 0))
        finetune(config.replace(strategy="multi-worker", output_dir=run), QUIET)
        out, said = other.communicate(timeout=SECONDS)
    assert other.returncode == 0, said
    return out, said


def weights(run):
    return [
        np.asarray(each) for each in TextClassifier.load(run / "model").model.trainable_variables
    ]


def history(run):
    return read_json(run / "training" / "model.json")["history"]


def assert_same_bytes(one, two):
    for a, b in zip(weights(one), weights(two), strict=True):
        np.testing.assert_array_equal(a, b)
    assert history(one) == history(two)


def without_dropout(material, folder):
    """A student in which nothing is drawn: no two processes draw alike."""
    student = load_classifier(resolve("cnn_small"), material.dataset, Shape(16))
    for layer in student.model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    student.save(folder)
    return TextClassifier.load(folder)


def test_two_processes_make_what_one_makes(config, network, tmp_path, monkeypatch):
    monkeypatch.setenv(*TWO_CORES)
    material = prepare(config, tmp_path, QUIET)
    answers = np.random.default_rng(1).normal(size=(97, 3)).astype(np.float32)
    objective = Objective(answers, 2.0, 0.3)
    budget = plan(config, 1e-3, STUDENT, 97)
    found = []
    for name in (None, "mirrored"):
        run = RunFolder(tmp_path / f"run-{name}")
        mine = dataclasses.replace(material, config=config.replace(strategy=name))
        train_arm(
            "model", without_dropout(material, tmp_path / "start"), objective, budget, mine, run
        )
        found.append(run.path)
    alone, two = found
    start = without_dropout(material, tmp_path / "start").model.trainable_variables
    for before, one, both in zip(start, weights(alone), weights(two), strict=True):
        assert np.abs(one - np.asarray(before)).max() > 1e-3
        np.testing.assert_allclose(both, one, rtol=0, atol=1e-5)
    for one, both in zip(history(alone), history(two), strict=True):
        assert both == pytest.approx(one, abs=1e-5)
    assert not (two / "unfinished").exists()


def test_a_killed_process_costs_the_steps_since_the_last_backup(
    config, joined, network, monkeypatch
):
    monkeypatch.setenv(*TWO_CORES)
    said, work = [], config.output_dir.parent / "killed"

    class Heard(Progress):
        def say(self, text):
            said.append(text)

    def kill():
        end = time.monotonic() + SECONDS
        while not list(work.glob("unfinished/model/*/state.npz")) and time.monotonic() < end:
            time.sleep(0.02)
        children = subprocess.run(
            ["pgrep", "-P", str(os.getpid()), "-f", strategy.WORKER], capture_output=True, text=True
        )
        os.kill(int(children.stdout.split()[-1]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    finetune(config.replace(strategy="mirrored", output_dir=work), Heard(quiet=True))
    killer.join()
    again = "all begin again from the last backup"
    assert [line for line in said if line.endswith(again)] == [
        f"a process of the training ended (SIGKILL): {again}"
    ]
    assert_same_bytes(work, joined[0])


def test_processes_that_tf_config_names_are_told_from_one_another(joined):
    """One command made the run, the other took part."""
    run, out, said = joined
    assert out == "took part in 1 training of the first process of TF_CONFIG\n"
    assert said.splitlines() == [
        "wait for the first process of TF_CONFIG, and train with it",
        "trainings: 1",
    ]
    assert not (run / "unfinished").exists()


def by_ray(config, run, *more):
    """The command that has Ray's workers train."""
    return Command(
        *("finetune", "--dataset", config.dataset, "--strategy", "multi-worker", "--ray", "local"),
        *("--weight-column", "weight", "--model", config.model, "--batch-size", config.batch_size),
        *("--epochs", config.epochs, "--learning-rate", config.learning_rate, "--no-report"),
        *("--backup-seconds", "0", "--output-dir", run, *more),
    )


@needs_ray
def test_rays_workers_make_the_same(config, joined):
    run = config.output_dir.parent / "ray"
    with by_ray(config, run) as command:
        said = command.end()
        assert command.process.returncode == 0, said
        wait_for(lambda: not command.living())
    assert_same_bytes(run, joined[0])
    assert not (run / "unfinished").exists()


@needs_ray
@pytest.mark.slow
def test_a_killed_worker_and_a_killed_driver_change_nothing(config, joined):
    run = config.output_dir.parent / "ray-killed"
    backup = "unfinished/model/*/state.npz"
    with by_ray(config, run) as first:
        wait_for(lambda: list(run.glob(backup)))
        os.kill(wait_for(lambda: first.workers("RayTrainWorker"))[-1], signal.SIGKILL)
        [state] = run.glob(backup)
        there = state.stat().st_mtime_ns
        wait_for(lambda: not state.exists() or state.stat().st_mtime_ns > there)
    assert not (run / "metrics.json").exists()
    with by_ray(config, run) as second:
        said = second.end()
        assert second.process.returncode == 0, said
    assert_same_bytes(run, joined[0])


def test_what_a_user_can_fix_is_told_once(config, network, monkeypatch, tmp_path):
    monkeypatch.setenv(*TWO_CORES)
    for path in Path(config.dataset).glob("*.csv"):
        (tmp_path / path.name).write_text(path.read_text().replace(",1\n", ",3e38\n"))
    run = tmp_path / "astray"
    message = (
        "Expected a finite loss. Received: inf by step 7 of model. Begin again with --overwrite "
        "and a lower learning rate, or --precision float32."
    )
    heavy = config.replace(dataset=f"{tmp_path}/", strategy="mirrored", output_dir=run)
    with pytest.raises(ModelError, match=exactly(message)):
        finetune(heavy, QUIET)
    assert not list(run.glob("unfinished/model/*/.part-*"))


@pytest.mark.parametrize("name", [None, "mirrored"])
def test_ray_trains_nothing_by_itself(config, name):
    line = (
        f"Expected --strategy multi-worker with --ray. Received: {name or 'none'}. Ray's workers "
        "train one student together; leave --ray out to train on this machine."
    )
    with pytest.raises(ConfigError, match=exactly(line)):
        finetune(config.replace(strategy=name, ray="local"), QUIET)


@pytest.mark.parametrize(
    "told",
    [
        "",
        "two machines",
        "[]",
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "evaluator", "index": 0}}',
    ],
)
def test_a_tf_config_that_names_no_place(config, told, monkeypatch):
    monkeypatch.setenv(cluster.TF_CONFIG, told)
    line = (
        "Expected TF_CONFIG with `cluster` (a list of addresses of `worker`) and `task` (its type "
        f"and index among them). Received: {told or 'none'}. Set it on each machine, or give --ray "
        "(`pip install 'tfkd[ray]'`)."
    )
    with pytest.raises(ConfigError, match=exactly(line)):
        finetune(config.replace(strategy="multi-worker"), QUIET)


def test_a_chief_comes_before_the_workers(monkeypatch):
    told = '{"cluster": {"worker": ["a:1", "b:1"], "chief": ["c:1"]}, "task": %s}'
    monkeypatch.setenv(cluster.TF_CONFIG, told % '{"type": "worker", "index": 1}')
    assert cluster.place() == cluster.Place(rank=2, size=3)
    monkeypatch.setenv(cluster.TF_CONFIG, told % '{"type": "chief", "index": "0"}')
    assert cluster.place() == cluster.Place(rank=0, size=3)


def test_another_process_takes_part_by_the_command_alone(config, monkeypatch):
    monkeypatch.setenv(cluster.TF_CONFIG, cluster.tf_config(["a:1", "b:1"], 1))
    line = (
        "Expected the first process of TF_CONFIG. Received: another one, which takes part by the "
        "command `tfkd` alone."
    )
    with pytest.raises(ConfigError, match=exactly(line)):
        finetune(config.replace(strategy="multi-worker"), QUIET)
