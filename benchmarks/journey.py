r"""A stranger's journey: one messy table of tickets, few labels, a language model's answers.

    python -m benchmarks.journey --data-dir DIR

Makes ticket-like rows of a data set at hand: its ten largest classes, with an id and a date, some
rows twice, some without a text, some classes in other letters. Then what a stranger does: `check`,
`distill`, `predict` from table to table; then 200 labels alone, with 1,300 texts that have none,
and with a language model's answers to these. That is a teacher of other rows, with noise, of nine
texts in ten and of the three likeliest classes. All figures are of the same rows, which no step
saw, and means over seeds. What was made before stays, so an interrupted session goes on.
"""

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tfkd
from benchmarks.teacher_answers import answered, shared_parser
from tfkd.artifacts import RunFolder, read_json, versions, write_json, write_text
from tfkd.config.data import DataConfig
from tfkd.errors import TfkdError
from tfkd.evaluation.table import Table, figures, words
from tfkd.quiet import quiet_libraries
from tfkd.runs.material import load_dataset

NUM_CLASSES = 10
NUM_TICKETS, NUM_LABELS, NUM_BACKLOG, NUM_LATER = 803, 200, 1300, 1500
# Of the tickets: one in so many comes twice, has no text, or its class in other letters.
TWICE, EMPTY, SHOUTED = 25, 50, 20
COLUMNS: dict[str, Any] = {
    "text_column": "body",
    "label_columns": ("category",),
    "id_column": "ticket_id",
}
REPAIRS: dict[str, Any] = {"drop_empty": True, "drop_duplicates": True, "fold_case": True}
NOTE = (
    "Accuracy on {later:,} later tickets. Teacher: all-MiniLM-L6-v2, fine-tuned; in the last line "
    "the language model. Control: the equal student, of the labels alone. dynamic_int8: the "
    "student's file."
)


class Ticket(NamedTuple):
    """A text and its class."""

    body: str
    category: str


class Place(NamedTuple):
    """Where the tables of the journey lie."""

    folder: Path

    @property
    def tickets(self) -> Path:
        """Data set of the messy table, and the later tickets as its test."""
        return self.folder / "tickets"

    @property
    def few(self) -> Path:
        """Data set of 200 clean labelled rows."""
        return self.folder / "few"

    @property
    def rest(self) -> Path:
        """Data set of all other rows, for the language model."""
        return self.folder / "rest"

    @property
    def backlog(self) -> Path:
        """Table of texts without labels."""
        return self.folder / "backlog.csv"

    @property
    def answers(self) -> Path:
        """The language model's answers."""
        return self.folder / "answers.jsonl"


def main(arguments: Sequence[str] | None = None) -> int:
    """Goes the whole way and writes its results; gives the exit code."""
    options = shared_parser(__doc__, "journey", "massive_en_us").parse_args(arguments)
    quiet_libraries()
    try:
        found = journey(options)
    except (TfkdError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    write_json(options.output, found)
    write_text(options.output.with_suffix(".md"), page(found))
    print(page(found))
    return 0


def journey(options: argparse.Namespace) -> dict[str, Any]:
    """The figures of every step."""
    place = Place(options.runs / "data")
    write_tables(tickets_of(options.dataset, options.data_dir), place)
    print(tfkd.check(str(place.tickets), **COLUMNS))
    ask_the_language_model(place, options)
    steps = {
        "803 rows": {"dataset": str(place.tickets), **REPAIRS},
        "200 labels": {"dataset": str(place.few)},
        "200 labels, 1,300 texts": {"dataset": str(place.few), "unlabelled": str(place.backlog)},
        "200 labels, 1,500 answers": {
            "dataset": str(place.few),
            "unlabelled": str(place.backlog),
            "teacher_answers": (place.answers,),
        },
    }
    seeds = options.seed or [0, 1, 2]
    found = {name: of_step(name, settings, seeds, options) for name, settings in steps.items()}
    return {
        "dataset": options.dataset,
        "student": options.student,
        "seeds": seeds,
        "num_later": NUM_LATER,
        "steps": found,
        "predict": scored(place, run_of("803 rows", seeds[0], options)),
        "versions": versions(),
    }


def tickets_of(dataset: str, data_dir: Path | None) -> list[Ticket]:
    """The rows of the largest classes of a data set's train, shuffled."""
    source = load_dataset(DataConfig(dataset=dataset, data_dir=data_dir))
    rows = list(source.splits["train"])
    counts = np.bincount([row.label for row in rows], minlength=source.num_outputs)
    largest = set(np.argsort(-counts, kind="stable")[:NUM_CLASSES].tolist())
    kept = [
        Ticket(row.texts[0], source.label_names[row.label]) for row in rows if row.label in largest
    ]
    return [kept[index] for index in np.random.default_rng(0).permutation(len(kept))]


def write_tables(tickets: Sequence[Ticket], place: Place) -> None:
    """All tables of the journey; no ticket is in two of them but those of the 200 labels."""
    ends = np.cumsum([NUM_TICKETS, NUM_BACKLOG, NUM_LATER])
    first, backlog, later, rest = (list(part) for part in _split(tickets, ends))
    write_table(place.tickets / "train.csv", messy(first))
    write_table(place.few / "train.csv", _numbered(first[:NUM_LABELS]))
    write_table(place.rest / "train.csv", _numbered(rest))
    for folder in (place.tickets, place.few, place.rest):
        write_table(folder / "test.csv", _numbered(later))
    write_table(place.backlog, [row[:-1] for row in _numbered(backlog)])


def _split(tickets: Sequence[Ticket], ends: Sequence[int]) -> list[Sequence[Ticket]]:
    starts = [0, *ends]
    return [tickets[start:end] for start, end in zip(starts, [*ends, None], strict=True)]


def _numbered(tickets: Sequence[Ticket]) -> list[list[str]]:
    return [
        [f"T-{number:05}", f"2026-{1 + number % 12:02}-{1 + number % 28:02}", *ticket]
        for number, ticket in enumerate(tickets)
    ]


def messy(tickets: Sequence[Ticket]) -> list[list[str]]:
    """Rows as people leave them: some twice, some without a text, some classes in capitals."""
    rows = []
    for number, row in enumerate(_numbered(tickets)):
        if number % SHOUTED == 1:
            row[3] = row[3].upper()
        if number % EMPTY == 2:
            row[2] = ""
        rows += [row] * (2 if number % TWICE == 3 else 1)
    return rows


def write_table(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """A table as a spreadsheet saves it: with a byte-order mark, and semicolons."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ["ticket_id", "created", "body", "category"][: len(rows[0])]
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream, delimiter=";")
        writer.writerows([names, *rows])


def ask_the_language_model(place: Place, options: argparse.Namespace) -> None:
    """Its answers to all texts of the last step: those of a teacher of all other rows."""
    if place.answers.is_file():
        return
    run = options.runs / "language-model"
    if not RunFolder(run).is_finished:
        tfkd.finetune(str(place.rest), model=options.teacher, output_dir=run, **COLUMNS)
    model = tfkd.TextClassifier.load(run / "model")
    tables = (place.few / "train.csv", place.backlog, place.few / "test.csv")
    texts = [row["body"] for table in tables for row in _rows(table)]
    lines = answered(texts, model.predict(texts), model.label_names, np.random.default_rng(0))
    write_text(place.answers, "\n".join(lines) + "\n")


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream, delimiter=";"))


def run_of(name: str, seed: int, options: argparse.Namespace) -> Path:
    """Folder of a step's run."""
    return options.runs / name.replace(",", "").replace(" ", "-") / str(seed)


def of_step(
    name: str, settings: dict[str, Any], seeds: Sequence[int], options: argparse.Namespace
) -> dict[str, Any]:
    """Mean accuracy of each row of a step's tables, and the verdict of the first seed."""
    kept: dict[str, list[float]] = {}
    for seed in seeds:
        path = run_of(name, seed, options)
        if not RunFolder(path).is_finished:
            teacher = {} if "teacher_answers" in settings else {"teacher": options.teacher}
            more = {"student": options.student, "seed": seed, "timing": False, "output_dir": path}
            tfkd.distill(**settings, **COLUMNS, **teacher, **more)
        for row in read_json(RunFolder(path).metrics)["rows"]:
            key = row["arm"] if row["recipe"] == "keras" else row["recipe"]
            key = row["model"] if row["arm"] == "baseline" else key
            kept.setdefault(key, []).append(row["metrics"]["accuracy"])
    first = read_json(RunFolder(run_of(name, seeds[0], options)).metrics)
    return {
        "accuracy": {key: float(np.mean(values)) for key, values in kept.items()},
        "sentences": first["sentences"],
        "seconds": sum(first["seconds"].values()),
    }


def scored(place: Place, run: Path) -> dict[str, Any]:
    """The later tickets answered from table to table, and how often rightly."""
    unread = place.folder / "later.csv"
    labelled = _rows(place.tickets / "test.csv")
    write_table(unread, [list(row.values())[:-1] for row in labelled])
    output, began_at = place.folder / "scored.csv", time.monotonic()
    print(tfkd.predict_file(run, input=unread, output=output, overwrite=True))
    seconds = time.monotonic() - began_at
    right = [
        row["label"] == other["category"]
        for row, other in zip(_rows(output), labelled, strict=True)
    ]
    return {
        "accuracy": float(np.mean(right)),
        "seconds": seconds,
        "columns": list(_rows(output)[0]),
    }


def page(found: dict[str, Any]) -> str:
    """The table of all steps, as a page."""
    names = list(found["steps"])
    of = [found["steps"][name]["accuracy"] for name in names]
    keys = list(dict.fromkeys(key for item in of for key in item))
    columns = [words("Given", names)]
    columns += [figures(key, [item.get(key) for item in of], "{:.3f}") for key in keys]
    told = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    about = f"Rows of {found['dataset']}, student {found['student']}, seeds {found['seeds']}."
    parts = ["# From a messy table to a student", Table(columns).markdown()]
    parts += [NOTE.format(later=found["num_later"]), f"{about} {told}."]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
