"""What a student loses to answers as a language model gives them, and to hard ones.

A fine-tuned teacher answers a data set exactly; a file holds the same answers with noise, of nine
rows in ten, and of each the three likeliest classes alone. Students learn from both, softly and by
the decided label, in a study of several seeds with its verdicts. Altered copies are left out: a
file has no answer to them. What was made before stays, so an interrupted session goes on.

    python benchmarks/teacher_answers.py --data-dir DIR --dataset emotion
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import log_softmax

from tfkd.artifacts import write_json, write_text
from tfkd.config.training import FinetuneConfig
from tfkd.config.verbs import StudyConfig
from tfkd.errors import TfkdError
from tfkd.models.classifier import TextClassifier
from tfkd.progress import Progress
from tfkd.quiet import quiet_libraries
from tfkd.runs.material import RUNS, Material, prepare
from tfkd.runs.teacher import finetuned
from tfkd.studies.table import StudyResult
from tfkd.workflows.study import study

RESULTS = Path(__file__).resolve().parents[1] / "results"
TEACHER = "hf://sentence-transformers/all-MiniLM-L6-v2"
# Of a logit; the share of rows without an answer; classes of an answer; digits of a logarithm.
NOISE, MISSING, LIKELIEST, DIGITS = 0.5, 0.1, 3, 3
FORM = """
seeds = {seeds}
timed_texts = 0

[settings]
augmented_copies = 0

[teachers.exact]
ready = {teacher}
[teachers.llm]
answers = {answers}

[students.soft]
student = {student}
[students.hard]
student = {student}
distillation_loss = "hard"

[datasets.{name}]
dataset = {dataset}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the answers and the study, writes its results; gives the exit code."""
    options = _parser().parse_args(arguments)
    quiet_libraries()
    try:
        result = made(options)
    except (TfkdError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    found = {"noise": NOISE, "missing": MISSING, **result.to_dict()}
    write_json(options.output, found)
    write_text(options.output.with_suffix(".md"), page(found))
    print(page(found))
    return 0


def page(found: dict[str, Any]) -> str:
    """The study's page, and what answers in a file and hard ones cost."""
    result = StudyResult(**{key: found[key] for key in ("study", "datasets", "versions")})
    (dataset,) = result.datasets.values()
    means = {row["arm"]: 100 * row["mean"] for row in dataset["rows"] if row["file"] == "keras"}
    return (
        f"{result.markdown()}\nAnswers in a file have noise of {found['noise']} on each logit, "
        f"miss {found['missing']:.0%} of the rows and name {LIKELIEST} classes. Lost to them: "
        f"{means['soft-exact'] - means['soft-llm']:.2f} points; to learning the decided class from "
        f"them: {means['soft-llm'] - means['hard-llm']:.2f} points more.\n"
    )


def made(options: argparse.Namespace) -> StudyResult:
    """The study, with its teacher and the file of answers."""
    settings = FinetuneConfig(
        dataset=options.dataset,
        data_dir=options.data_dir,
        max_train_rows=options.rows,
        model=options.teacher,
        epochs=options.teacher_epochs,
        output_dir=options.runs / "teacher",
    )
    material = prepare(settings, options.runs, Progress())
    model = finetuned(settings, material)
    path = options.runs / "llm.jsonl"
    write_answers(path, TextClassifier.load(model), material)
    name = options.dataset.strip("/").rpartition("/")[2]
    words = {
        "seeds": options.seed or [0, 1, 2],
        "name": name,
        **{
            key: json.dumps(str(value))
            for key, value in {
                "teacher": model.parent,
                "answers": path,
                "student": options.student,
                "dataset": options.dataset,
            }.items()
        },
    }
    form = FORM.format(**words)
    form += f"max_train_rows = {options.rows}\n" if options.rows else ""
    form += f"epochs = {options.epochs}\n" if options.epochs else ""
    write_text(options.runs / "answers.toml", form)
    return study(
        StudyConfig(
            study=options.runs / "answers.toml",
            data_dir=options.data_dir,
            output_dir=options.runs / "study",
        )
    )


def write_answers(path: Path, teacher: TextClassifier, material: Material) -> None:
    """A teacher's answers to all splits as a language model would give them: JSONL by text."""
    random, lines = np.random.default_rng(0), []
    for split in ("train", "validation", "test"):
        logits = teacher.logits(material.tokens(split, teacher.tokenizer))
        texts = [row.texts[0] for row in material.dataset.splits[split]]
        lines += answered(texts, logits, teacher.label_names, random)
    write_text(path, "\n".join(lines) + "\n")


def answered(
    texts: Sequence[str], logits: np.ndarray, names: Sequence[str], random: np.random.Generator
) -> list[str]:
    """Lines of JSON with noisy answers to nine texts in ten."""
    noisy = log_softmax(logits + NOISE * random.standard_normal(logits.shape), axis=-1)
    is_missing = random.random(len(logits)) < MISSING
    rows = zip(texts, noisy.tolist(), is_missing, strict=True)
    return [
        json.dumps({"text": text, "logprobs": likeliest(chances, names)})
        for text, chances, none in rows
        if not none
    ]


def likeliest(logarithms: Sequence[float], names: Sequence[str]) -> dict[str, float]:
    """The likeliest classes of one answer, rounded.

    >>> likeliest([-3.0, -0.1, -2.71828, -5.0], "abcd")
    {'b': -0.1, 'c': -2.718, 'a': -3.0}
    """
    order = sorted(range(len(names)), key=lambda index: -logarithms[index])[:LIKELIEST]
    return {names[index]: round(logarithms[index], DIGITS) for index in order}


def shared_parser(about: str, name: str, dataset: str) -> argparse.ArgumentParser:
    """Options of the programs about answers in a file.

    Args:
        about: String. The program's docstring.
        name: String. The program's; its runs and its figures are called so.
        dataset: String. A data set at hand, if no other is asked for.
    """
    parser = argparse.ArgumentParser(description=about.split("\n")[0])
    parser.add_argument("--dataset", default=dataset, help="A data set of single labels.")
    parser.add_argument("--data-dir", type=Path, help="As of tfkd.")
    parser.add_argument("--teacher", default=TEACHER, help="As --model of tfkd finetune.")
    parser.add_argument("--student", default="cnn", help="Size word of the student.")
    parser.add_argument("--seed", type=int, action="append", help="Again for more. Default: 0 1 2.")
    parser.add_argument("--runs", type=Path, default=RUNS / name, help="Run folders.")
    output = RESULTS / f"{name}.json"
    parser.add_argument("--output", type=Path, default=output, help="The figures.")
    return parser


def _parser() -> argparse.ArgumentParser:
    parser = shared_parser(__doc__, "teacher_answers", "emotion")
    parser.add_argument("--rows", type=int, help="Rows of train. Default: all.")
    parser.add_argument("--teacher-epochs", type=int, help="Of its fine-tuning. Default: its own.")
    parser.add_argument("--epochs", type=int, help="Of the students. Default: their own.")
    return parser


if __name__ == "__main__":
    sys.exit(main())
