"""`tfkd check`: what a data set is and what is wrong with it, before anything is trained on it."""

import contextlib
import dataclasses
import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np

from tfkd.config.verbs import CheckConfig
from tfkd.data import files, sources
from tfkd.data.columns import Reading
from tfkd.data.duplicates import said_of
from tfkd.data.examples import EMBEDDING, Dataset
from tfkd.data.survey import COUNTED, Finding, Survey, survey
from tfkd.errors import DatasetError
from tfkd.evaluation.table import Shown, Table, figures, words
from tfkd.progress import Progress
from tfkd.quiet import import_tensorflow
from tfkd.runs.settings import settings_of

# Of each split, so many texts are cut into tokens; words are counted in all.
COUNTED_TEXTS, MOST_TOKENS = 2000, 1024
SHOWN = {
    "Unreadable": "unreadable",
    "Empty": "empty",
    "Repeated": "duplicates",
    "In other splits": "leaks",
}
# Of more classes the most and the least frequent are shown.
SHOWN_CLASSES = 40
# Of a few long texts the beginning says enough.
TOLERATED_CUT = 0.01


@dataclasses.dataclass(frozen=True, repr=False)
class CheckResult(Shown):
    """What was found.

    Attributes:
        survey: `Survey`.
        unit: What lengths are counted in, "words" or "tokens".
        lengths: Median, 99th percentile, maximum and, where a sequence length is given, the share
            of longer texts; by split.
        findings: `Finding`s, the worst first.
        repairs: What was repaired on request, in lines.
    """

    survey: Survey
    unit: str
    lengths: dict[str, dict[str, float]]
    findings: tuple[Finding, ...]
    repairs: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        dataset = self.survey.dataset
        splits = {
            split: {
                "num_rows": found.num_rows,
                **{kind: found.counts[kind] for kind in ("unreadable", *COUNTED)},
                self.unit: self.lengths[split],
                "classes": dict(zip(dataset.label_names, found.class_counts.tolist(), strict=True)),
            }
            for split, found in self.survey.splits.items()
        }
        return {
            "data": dataset.name,
            "form": dataset.form,
            "columns": dataset.columns,
            "labels": dataset.labels,
            "repairs": list(self.repairs),
            "splits": splits,
            "findings": [finding._asdict() for finding in self.findings],
        }

    def render(self) -> list[Table | str]:
        """Lines and tables for the console."""
        dataset = self.survey.dataset
        lines = [f"{dataset.name}: {dataset.form}" if dataset.form else dataset.name]
        lines += [f"columns: {dataset.columns}"] if dataset.columns else []
        lines += [f"labels: {dataset.labels}"] if dataset.task != EMBEDDING else []
        shown: list[Table | str] = ["\n".join([*lines, *self.repairs]), self._split_table()]
        if self.survey.has_classes:
            shown.append(self._class_table())
        if not self.findings:
            return [*shown, "Nothing is wrong with it."]
        return [*shown, "\n".join(["What to do:", *(f"- {item}" for item in self.findings)])]

    def _split_table(self) -> Table:
        found = list(self.survey.splits.values())
        lengths = list(self.lengths.values())
        cut = [100 * item["cut"] if "cut" in item else None for item in lengths]
        counts = {
            title: [item.counts[kind] or None for item in found] for title, kind in SHOWN.items()
        }
        return Table(
            [
                words("Split", self.survey.splits),
                figures("Rows", [item.num_rows for item in found], "{:,}"),
                *(figures(title, numbers, "{:,}") for title, numbers in counts.items()),
                figures(f"Median {self.unit}", [item.get("median") for item in lengths], "{:,}"),
                figures("99 of 100 up to", [item.get("p99") for item in lengths], "{:,}"),
                figures("Longest", [item.get("max") for item in lengths], "{:,}"),
                figures("Cut, %", cut, "{:.1f}"),
            ]
        ).without_empty("Rows")

    def _class_table(self) -> Table:
        names = self.survey.dataset.label_names
        counts = [found.class_counts for found in self.survey.splits.values()]
        order = np.argsort(-np.sum(counts, axis=0), kind="stable").tolist()
        rows: list[tuple[str, list[int | None]]] = [
            (names[index], [int(part[index]) for part in counts]) for index in order
        ]
        if len(rows) > SHOWN_CLASSES:
            half = SHOWN_CLASSES // 2
            rows[half:-half] = [(f"... {len(rows) - 2 * half} more", [None] * len(counts))]
        return Table(
            [
                words("Class", [name for name, _ in rows]),
                *(
                    figures(split.capitalize(), [row[part] for _, row in rows], "{:,}")
                    for part, split in enumerate(self.survey.splits)
                ),
            ]
        )


def check(
    config: CheckConfig | Path | str | None = None, progress: Progress | None = None, **given: Any
) -> CheckResult:
    """Reads all rows of a data set as its source has it, and reports all that is wrong at once.

    Args:
        config: `CheckConfig`, or the data set's name or path.
        progress: `Progress` that shows what is done.
        **given: The settings, and rows that are in memory, as keywords of `distill`.

    Raises:
        ConfigError: The name is unknown.
        DatasetError: The data is nowhere to be had, or no column of texts is found.

    Example:

    ```python
    for finding in tfkd.check("tickets.csv").findings:
        print(finding)
    ```
    """
    config = settings_of(CheckConfig, config, given)
    with (progress or Progress()).stage("read and check"):
        dataset, unread = _read(config)
        found = survey(dataset)
    counted, unit = {split: item.num_words for split, item in found.splits.items()}, "words"
    if config.model is not None:
        counted, unit = _tokens(dataset, config.model), "tokens"
    lengths = {split: _measured(part, config.sequence_length) for split, part in counted.items()}
    told = {finding.found for finding in unread}
    findings = [*unread, *(finding for finding in found.findings() if finding.found not in told)]
    findings += _long(lengths, unit, config.sequence_length)
    if config.drop_empty:
        findings = [finding for finding in findings if finding.kind != "empty"]
    is_repaired = config.drop_empty or config.drop_duplicates or config.fold_case
    repairs = tuple(said_of(dataset.repairs())) if is_repaired else ()
    return CheckResult(found, unit, lengths, tuple(findings), repairs)


def _read(config: CheckConfig) -> tuple[Dataset, list[Finding]]:
    """The data set; where its labels cannot be understood, its texts alone and why."""
    reading = dataclasses.replace(Reading.of(config), drop_empty=True, goes_on=True)
    try:
        return sources.published(config.data, config.data_dir, 0, reading), []
    except DatasetError as error:
        path = Path(config.data).expanduser()
        if not path.exists():
            raise
        try:
            texts = dataclasses.replace(
                reading, columns=files.names_there(path, reading.columns), texts_only=True
            )
            dataset = sources.published(f"{path}{os.sep * path.is_dir()}", None, 0, texts)
        except DatasetError:
            raise error from None
        return dataset, [Finding("labels", str(error).rstrip("."), "Texts alone were read.")]


def _tokens(dataset: Dataset, model: str) -> dict[str, np.ndarray]:
    """Tokens of the first texts of each split."""
    import_tensorflow()
    from tfkd.models.checkpoints import resolve
    from tfkd.models.classifier import batch_texts
    from tfkd.models.loading import load_tokenizer

    tokenizer = load_tokenizer(resolve(model), MOST_TOKENS)
    found = {}
    for split, rows in dataset.splits.items():
        texts: list[tuple[str, ...]] = []
        # The survey has told of the row that ends it.
        with contextlib.suppress(DatasetError):
            texts.extend(row.texts for row in itertools.islice(rows, COUNTED_TEXTS))
        encoded = (
            tokenizer.encode(batch_texts(texts)) if texts else {"padding_mask": np.zeros((0, 1))}
        )
        found[split] = encoded["padding_mask"].sum(axis=1)
    return found


def _measured(lengths: np.ndarray, sequence_length: int | None) -> dict[str, float]:
    if not len(lengths):
        return {}
    median, p99 = np.quantile(lengths, [0.5, 0.99], method="higher").tolist()
    found = {"median": median, "p99": p99, "max": int(lengths.max())}
    if sequence_length is None:
        return found
    return found | {"cut": float((lengths > sequence_length).mean())}


def _long(
    lengths: dict[str, dict[str, float]], unit: str, sequence_length: int | None
) -> list[Finding]:
    """The finding that more than a few texts are cut."""
    cut = max((found.get("cut", 0.0) for found in lengths.values()), default=0.0)
    if cut <= TOLERATED_CUT:
        return []
    longest = max(found["p99"] for found in lengths.values() if found)
    what = f"Texts longer than {sequence_length} {unit}: {100 * cut:.1f} % of a split"
    more = " A word has one to two tokens; --model counts them." if unit == "words" else ""
    advice = f"What is behind is not read; 99 of 100 have at most {longest:,} {unit}.{more}"
    return [Finding("long", what, advice)]
