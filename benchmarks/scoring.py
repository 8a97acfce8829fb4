r"""Do students suffer from quick answers of their teacher, or from products in bfloat16?

    python benchmarks/scoring.py saved_models/ag_news-minilm-finetuned --student bert_tiny \
        --output results/scoring_ag_news.json
    python benchmarks/scoring.py --render results/scoring_*.json

The run of `tfkd finetune` gives teacher and rows. Each way of asking the teacher and each precision
of the student's training makes students of the same seeds. What is there already is not trained
again.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.training import DistillConfig
from tfkd.data.checks import check
from tfkd.evaluation.resampling import answers_of, columns
from tfkd.evaluation.table import Table, figures, words
from tfkd.evaluation.verdict import compare_answers
from tfkd.models.checkpoints import resolve
from tfkd.models.classifier import TextClassifier
from tfkd.progress import Progress
from tfkd.runs.arm import train_arm
from tfkd.runs.material import CACHE, Material
from tfkd.runs.own_data import own_config, own_dataset
from tfkd.runs.record import finished
from tfkd.runs.routes import BFLOAT16, FILE, Routes
from tfkd.runs.scoring import split_figures, split_logits
from tfkd.runs.student import new_student, student_plan
from tfkd.runs.training import Objective
from tfkd.runs.trial import EXACT, distance

SEEDS = (0, 1, 2)
# How the teacher is asked, and the precision of the student's training.
ARMS = ((EXACT, "float32"), (FILE, "bfloat16"), (BFLOAT16, "bfloat16"))


def answers(routes: Routes, name: str, folder: Path) -> np.ndarray:
    """The teacher's logits of all rows by one way, kept in a file."""
    path = folder / f"{name}.npy"
    if not path.is_file():
        rows, logits = zip(*routes.open(name).score(routes.tokens), strict=True)
        ordered = np.concatenate(logits)[np.argsort(np.concatenate(rows))]
        with artifacts.atomic_file(path) as part:
            np.save(part, ordered)
    return np.load(path)


def student_logits(
    config: DistillConfig, teacher: TextClassifier, logits: np.ndarray, material: Material
) -> np.ndarray:
    """Test logits of a student that is trained now or was before."""
    run = RunFolder(config.output_dir)
    source = resolve(config.student)
    untrained = new_student(config, source, teacher, material, None)
    objective = Objective(logits, config.temperature, config.student_loss_weight)
    budget = student_plan(config, source, material)
    return split_logits(
        train_arm("student", untrained, objective, budget, material, run), "test", material
    )


def compared(run: RunFolder, student: str, epochs: int, data_dir: Path | None) -> dict[str, Any]:
    """Figures of every arm, and each against the first one."""
    dataset = own_dataset(finished(run), data_dir)
    material = Material(dataset, check(dataset), run.path.parent / CACHE, Progress())
    teacher = TextClassifier.load(run.model)
    tokens = material.tokens("train", teacher.tokenizer)
    routes = Routes(teacher, run.model, tokens, material.cache, material.progress)
    work = run.path.parent / f"scoring-{run.path.name}-{student}"
    config = DistillConfig(
        **dataclasses.asdict(own_config(run, None, data_dir)) | {"seed": 0},
        student=student,
        epochs=epochs,
        patience=epochs,
    )
    rows = material.tokens("test", teacher.tokenizer)
    labels = columns(dataset.task, np.asarray(rows.labels), dataset.num_outputs)
    taught = {name: answers(routes, name, work) for name, _ in dict(ARMS).items()}
    found: list[dict[str, Any]] = []
    decided: list[np.ndarray] = []
    for way, precision in ARMS:
        arms = [
            config.replace(
                seed=seed,
                precision=precision,
                output_dir=work / f"{way}-{precision}-{seed}",
            )
            for seed in SEEDS
        ]
        logits = [student_logits(arm, teacher, taught[way], material) for arm in arms]
        decided.append(np.stack([answers_of(dataset.task, one, 0.5) for one in logits]))
        scores = [split_figures(one, rows, teacher)[dataset.metric] for one in logits]
        against, _ = compare_answers(dataset.metric, labels, decided[-1], decided[0], 0)
        apart = distance(teacher, taught[EXACT], taught[way], config.temperature)
        found.append(
            {
                "way": way,
                "precision": precision,
                "scores": scores,
                "distance": dataclasses.asdict(apart),
                "against_first": against.to_dict(),
            }
        )
    return {
        "dataset": material.describe(),
        "metric": dataset.metric,
        "student": student,
        "epochs": epochs,
        "seeds": SEEDS,
        "arms": found,
        "versions": artifacts.versions(),
    }


def table(results: list[dict[str, Any]]) -> Table:
    """A row for each arm of each data set."""
    arms = [(found, arm) for found in results for arm in found["arms"]]
    means = [100 * float(np.mean(arm["scores"])) for _, arm in arms]
    spread = [100 * float(np.std(arm["scores"], ddof=1)) for _, arm in arms]
    return Table(
        [
            words("Data set", [found["dataset"]["dataset"] for found, _ in arms]),
            words("Student", [found["student"] for found, _ in arms]),
            words("Teacher answers in", [arm["way"] for _, arm in arms]),
            words("Student trained in", [arm["precision"] for _, arm in arms]),
            figures("Mean of 3 seeds, %", means, "{:.2f}"),
            figures("Standard deviation", spread, "{:.2f}"),
            words("Against the first", [arm["against_first"]["verdict"] for _, arm in arms]),
            figures("Agreement", [arm["distance"]["agreement"] for _, arm in arms], "{:.4f}"),
            figures(
                "Largest difference",
                [arm["distance"]["largest_difference"] for _, arm in arms],
                "{:.3f}",
            ),
        ]
    )


@click.command()
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--student", default="bert_tiny", show_default=True)
@click.option("--epochs", default=4, show_default=True)
@click.option("--data-dir", type=click.Path(path_type=Path), envvar="TFKD_DATA_DIR")
@click.option("--output", type=click.Path(path_type=Path), help="JSON file for the figures.")
@click.option("--render", multiple=True, type=click.Path(path_type=Path))
def main(
    run: Path | None,
    student: str,
    epochs: int,
    data_dir: Path | None,
    output: Path | None,
    render: tuple[Path, ...],
) -> None:
    """Compares students of exact and of quick answers, and of both precisions."""
    if render:
        results = [json.loads(path.read_text(encoding="utf-8")) for path in render]
    elif run is not None:
        results = [compared(RunFolder(run), student, epochs, data_dir)]
    else:
        raise click.UsageError("Expected a run or --render. Received: neither.")
    if output is not None:
        artifacts.write_json(output, results[0])
    click.echo(table(results).markdown())


if __name__ == "__main__":
    main()
