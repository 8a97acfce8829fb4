"""The report of one run, from its figures, its settings and its answers to the test rows."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfkd.artifacts import RunFolder
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from tfkd.errors import ArtifactError
from tfkd.evaluation.metrics import METRICS
from tfkd.evaluation.rows import (
    STAGE_NOTE,
    TEACHER,
    WITH_TOKENS,
    Row,
    result_table,
    stage_table,
    table_note,
)
from tfkd.evaluation.table import Table, figures, words
from tfkd.evaluation.verdict import Comparison
from tfkd.reports.mistakes import answer_pictures, browser, confusions
from tfkd.reports.page import Code, Page, Section
from tfkd.reports.plots import Picture, Point, curve_picture, price_pictures
from tfkd.reports.predictions import Predictions
from tfkd.reports.sentences import (
    KERAS,
    label,
    last_part,
    lead,
    shipped,
    short_note,
    short_table,
    standing,
)
from tfkd.seals import damage, read_record

# Of config.json, but no settings.
MARKS = ("verb", "written_by", "data")
STUDENT, FOLDER = "student", "THIS_FOLDER"
QUANTIZATION = "quantization.json"
PRECISION = "validation_average_precision"
MEGABYTES, TIME = "megabytes of the file", "milliseconds of one text"
FILES = {
    "distill": {
        "report.html": "this page with pictures and the texts that are wrong; opens in a browser",
        "student/model.keras": "the student; `student/tokenizer/` and `student/labels.txt` go "
        "with it",
        "student/*.tflite": "LiteRT files; the `.json` beside each is its parity report",
        "control/": "the equal student trained without the teacher",
        "training/*.json": "budget and history of each arm; scoring.json: how the teacher answered",
        "training/answers.npy": "what the student was told, where a file answered in a teacher's "
        "place",
        "logs/": "TensorBoard",
        "vocabulary.json": "what a smaller vocabulary changed, if one was asked for",
        "qat/": "variables and history of recipes that train, if one was asked for",
        "predictions.parquet": "what each model answers to each test row, and how sure it is",
        "metrics.json": "all figures, versions, seed and data fingerprints",
        "config.json": "the resolved settings",
    },
    "finetune": {
        "report.html": "this page with pictures and the texts that are wrong; opens in a browser",
        "model/": "the classifier: model.keras, tokenizer/, labels.txt",
        "training/model.json": "budget and history",
        "logs/": "TensorBoard",
        "predictions.parquet": "what the model answers to each test row, and how sure it is",
        "metrics.json": "all figures, versions, seed and data fingerprints",
        "config.json": "the resolved settings",
    },
}
# How a text gets its labels, where that is not the likeliest one.
DECIDED = {
    MULTI_LABEL: "A text has the labels whose probability is above their own thresholds: each "
    "model's are tuned for the F1 of each label on the validation rows and kept in its "
    "classifier.json. Epochs are compared by average precision, which needs none."
}


@dataclasses.dataclass(frozen=True)
class RunReport:
    """A finished run, as far as a report needs it.

    Attributes:
        config: The resolved settings with their `verb`, as config.json holds them.
        record: The figures, as metrics.json holds them.
        predictions: `Predictions`; None of a run that is older than they are.
        quantization: What `tfkd quantize` found later, as quantization.json holds it, or None.
    """

    config: Mapping[str, Any]
    record: Mapping[str, Any]
    predictions: Predictions | None
    quantization: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, run: RunFolder, record: Mapping[str, Any]) -> "RunReport":
        """That of a finished run.

        Args:
            run: `RunFolder`.
            record: Its figures.

        Raises:
            ArtifactError: A file was changed.
        """
        path = run.path / QUANTIZATION
        later = read_record(path) if path.is_file() else None
        found = cls(run.read_config(), record, Predictions.read(run.path), later)
        try:
            result_table(found.all_rows, found.metric)
        except (KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(damage(path, "no files of a run", "Delete it.")) from error
        return found

    @property
    def rows(self) -> list[Row]:
        """The rows of the run's table."""
        return [Row.from_dict(dict(values)) for values in self.record["rows"]]

    @property
    def all_rows(self) -> list[Row]:
        """The same, and files that `tfkd quantize` wrote later."""
        rows = self.rows
        known = {row.recipe for row in rows if row.arm == self.model}
        later = (self.quantization or {}).get("files", ())
        return rows + [
            dataclasses.replace(
                rows[-1],
                recipe=file["recipe"],
                metrics=file["metrics"],
                size_bytes=file["parity"]["size_bytes"],
                latency=file["latency"],
            )
            for file in later
            if file["recipe"] not in known
        ]

    @property
    def metric(self) -> str:
        """Headline metric, a name of `METRICS`."""
        return str(self.record["metric"])

    @property
    def model(self) -> str:
        """The arm that the run is about: student, or model."""
        return self.rows[-1].arm

    @property
    def title(self) -> str:
        """What was made of what."""
        data, rows = self.record["data"]["dataset"], self.rows
        model = last_part(rows[-1].model)
        if self.model != STUDENT:
            return f"{model} fine-tuned on {data}"
        teacher = next((last_part(row.model) for row in rows if row.arm == TEACHER), None)
        files = [Path(path).name for path in self.config.get("teacher_answers") or ()]
        source = teacher or f"answers of {' and '.join(files)}"
        return f"{model} distilled from {source} on {data}"

    def page(self) -> Page:
        """The report."""
        record, rows, metric = self.record, self._compared, self.metric
        found = record.get("comparisons", {})
        comparisons = {name: Comparison(**item) for name, item in found.items()}
        stands = record.get("standing") or standing(rows, metric, comparisons)
        return Page(
            self.title,
            lead(rows, metric, comparisons.get("student_vs_control")),
            [note for note in (record.get("warning"), self._measured(), stands) if note],
            short_table(rows, metric),
            short_note(rows, metric),
            self._pictures(),
            self._sections(),
            None if self.predictions is None else browser(self.predictions, self.model),
        )

    @property
    def _compared(self) -> list[Row]:
        """The rows but for that of a teacher who answered some of the test rows alone."""
        answers = self.predictions
        if answers is None or TEACHER not in answers.models or answers.is_answered(TEACHER).all():
            return self.rows
        return [row for row in self.rows if row.arm != TEACHER]

    def _measured(self) -> str:
        """What the figures are of, and what a student is."""
        data = self.record["data"]
        names = "" if data["task"] == REGRESSION else f", {len(data['label_names'])} labels"
        rows = data["splits"]["test"]["num_rows"]
        told = f"Measured on {rows:,} test texts of {data['dataset']}{names}."
        if self.model != STUDENT:
            return told
        return f"{told} The student is a small model that learned from the answers of its teacher."

    def _pictures(self) -> list[Picture]:
        title = METRICS[self.metric].title
        prices = {unit: _points(self.all_rows, self.metric, unit) for unit in (MEGABYTES, TIME)}
        found = price_pictures(title, prices)
        training = self.record.get("training", {})
        found += _curves({self.model: training} if "history" in training else training, self.metric)
        if self.predictions is not None and self.record["data"]["task"] == SINGLE_LABEL:
            found += answer_pictures(
                self.predictions, self.record["data"]["label_names"], shipped(self.rows)
            )
        return found

    def _sections(self) -> list[Section]:
        record, rows = self.record, self.rows
        data, versions = record["data"], record["versions"]
        counts = "; ".join(
            f"{name}: {item['num_rows']:,} rows, fingerprint {item['fingerprint'][:16]}"
            for name, item in data["splits"].items()
        )
        told = ", ".join(f"{name} {version}" for name, version in versions.items())
        decided = DECIDED.get(data["task"], "")
        settings = {name: value for name, value in self.config.items() if name not in MARKS}
        files = FILES["distill" if self.model == STUDENT else "finetune"]
        sections = [
            Section(
                "All figures",
                [
                    result_table(self.all_rows, self.metric),
                    table_note(self.all_rows, self.metric),
                    *record.get("sentences", ()),
                ],
            ),
            Section(
                "How to ask it",
                [
                    Code(f'tfkd predict {FOLDER} "your text"', "shell"),
                    Code(f'import tfkd\n\ntfkd.predict("{FOLDER}", "your text")', "python"),
                ],
            ),
            Section("Made by this command, which makes it again", [Code(rows[0].command, "shell")]),
            Section("Data", [f"{counts}. Figures are of the test split. {decided}".rstrip()]),
            *self._confusions(),
            *self._checks(),
            Section("Time", [stage_table(record["seconds"]), STAGE_NOTE]),
            Section("Files", [Table([words("Path", files), words("What it is", files.values())])]),
            Section(
                "Settings and versions",
                [f"Seed {record['seed']}; {told}.", Code(json.dumps(settings, indent=2), "json")],
            ),
        ]
        return sections

    def _confusions(self) -> list[Section]:
        if self.predictions is None or self.record["data"]["task"] != SINGLE_LABEL:
            return []
        return [Section("What is taken for what", [confusions(self.predictions, self.model)])]

    def _checks(self) -> list[Section]:
        """What the files were put to before they were kept."""
        exports = self.record.get("exports") or {}
        if not exports:
            return []
        reports = list(exports.values())
        return [
            Section(
                "How the files were checked",
                [
                    Table(
                        [
                            words("File", exports),
                            figures("Texts", [item["num_texts"] for item in reports]),
                            figures("Same answer", [item["agreement"] for item in reports]),
                            figures(
                                "Largest logit difference",
                                [item["largest_logit_difference"] for item in reports],
                                "{:.2g}",
                            ),
                            words("Operators", map(_operators, reports)),
                        ]
                    ),
                    "Each file answered held-out texts beside the Keras model before it was kept.",
                ],
            )
        ]


def _operators(report: Mapping[str, Any]) -> str:
    found = report.get("operators")
    return found["sentence"] if isinstance(found, dict) and "sentence" in found else "-"


def _points(rows: Sequence[Row], metric: str, unit: str) -> list[Point]:
    """The rows whose price is known: bytes as megabytes, or milliseconds of one text."""
    found = []
    for row in rows:
        bytes_, times = row.size_bytes, row.latency or {}
        cost = (bytes_ and bytes_ / 1e6) if unit == MEGABYTES else times.get(WITH_TOKENS)
        if cost:
            group = label(dataclasses.replace(row, recipe=KERAS))
            found.append(Point(group, row.recipe, cost, row.metrics[metric]))
    return found


def _curves(training: Mapping[str, Any], metric: str) -> list[Picture]:
    """The metric after each epoch, of arms that were trained for several."""
    curves: dict[str, list[float]] = {}
    epochs = [epoch for arm in training.values() for epoch in arm["history"]]
    # Several labels are judged by this while they are trained.
    is_precision = any(PRECISION in epoch for epoch in epochs)
    key = PRECISION if is_precision else f"validation_{metric}"
    for name, arm in training.items():
        # The untrained start is epoch 0 of some.
        values = [epoch[key] for epoch in arm["history"] if key in epoch]
        if len(values) > 1:
            curves[name] = values
    title = "Average precision" if is_precision else METRICS[metric].title
    return [curve_picture("Training", title, curves)] if curves else []
