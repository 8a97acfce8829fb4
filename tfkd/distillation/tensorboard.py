"""TensorBoard logs of one arm: curves, confusion matrices, settings with final metrics, text.

A `RunLog` writes TensorBoard's events itself, each on disk before the call returns, because two
things must survive a kill: every figure up to the last backup, and a single curve, without a
zig-zag, when the run goes on from there.
"""

import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from tensorboard.compat.proto import event_pb2, summary_pb2, types_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import summary as hparams_summary
from tensorboard.plugins.hparams import summary_v2 as hparams_api
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.scalar import summary_v2 as scalar_api
from tensorboard.plugins.text import summary_v2 as text_api
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util import tensor_util

PIXELS_PER_INCH = 100
MOST_CLASSES_WITH_COUNTS = 12
MOST_CLASSES_WITH_LABELS = 64
LONGEST_LABEL = 24


class RunLog:
    """Writes the TensorBoard log of one arm.

    Args:
        folder: Path. One folder an arm; those of a run side by side, so that TensorBoard draws
            the arms on the same axes.
        finished_steps: Integer or None. Training steps finished so far: what an earlier session
            logged for later steps is superseded, and for 0 all it logged. None: nothing is; use
            it to add to a finished training's log.

    Example:

    >>> with RunLog(Path("logs/student"), finished_steps=0) as log:
    ...     log.scalars(20, {"train/loss": 1.25, "train/distillation_loss": 0.75})
    """

    def __init__(self, folder: Path, finished_steps: int | None = None) -> None:
        if finished_steps is not None and finished_steps < 0:
            raise ValueError(
                f"Expected `finished_steps` to be 0 or more. Received: {finished_steps}."
            )
        self._folder = folder
        self._is_closed = False
        folder.mkdir(parents=True, exist_ok=True)
        self._records = RecordWriter(_next_event_file(folder).open("xb"))
        self._add(0, file_version="brain.Event:2")
        if finished_steps is not None:
            self._supersede(finished_steps + 1 if finished_steps else 0)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to each named curve."""
        summary = summary_pb2.Summary()
        for tag, value in values.items():
            summary.MergeFrom(scalar_api.scalar_pb(tag, value))
        self._write(step, summary)

    def confusion_matrix(
        self, tag: str, matrix: np.ndarray, label_names: Sequence[str], step: int = 0
    ) -> None:
        """Adds an image of a confusion matrix; shades are shares of the true class.

        Counts are written into the cells of up to 12 classes, and class names beside up to 64;
        with more, the axes count the classes.

        Rows of the matrix are true classes, columns predicted ones.

        Raises:
            ValueError: The matrix has another shape than the label names ask for.
        """
        matrix = np.asarray(matrix)
        if matrix.shape != (len(label_names), len(label_names)):
            raise ValueError(
                f"Expected a matrix of shape {(len(label_names), len(label_names))} for "
                f"{len(label_names)} label names. Received: {matrix.shape}."
            )
        image, pixels = _confusion_image(matrix, label_names)
        parts = [str(pixels).encode(), str(pixels).encode(), image]
        summary = summary_pb2.Summary()
        summary.value.add(
            tag=tag,
            tensor=tensor_util.make_tensor_proto(parts, dtype=types_pb2.DT_STRING),
            metadata=image_metadata.create_summary_metadata(
                display_name=None, description=None, converted_to_tensor=True
            ),
        )
        self._write(step, summary)

    def hparams(self, settings: Mapping[str, object], metrics: Mapping[str, float]) -> None:
        """Adds the arm to the HParams table: its settings beside its final metrics.

        Args:
            settings: Mapping of names to values. What is no boolean, number or string is shown as
                its string; None as an empty one.
            metrics: Mapping of scalar tags ("test/accuracy") to numbers; also added as scalars.
        """
        shown = {name: _shown(value) for name, value in settings.items()}
        # Named here, metrics are the table's only columns; else it had every training curve too.
        columns = [
            api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=tag)
            for tag in metrics
        ]
        kinds = [api_pb2.HParamInfo(name=name, type=_kind(shown[name])) for name in sorted(shown)]
        # Without a name of its own, arms of equal settings would be averaged into one row.
        session = "/".join(self._folder.resolve().parts[-3:])
        self._write(0, hparams_summary.experiment_pb(kinds, columns))
        self._write(0, hparams_api.hparams_pb(shown, trial_id=session))
        self.scalars(0, metrics)
        self._write(0, hparams_summary.session_end_pb(api_pb2.STATUS_SUCCESS))

    def layout(self, categories: Mapping[str, Mapping[str, str]]) -> None:
        """Says what the Custom Scalars page shows: all arms of a tag in one chart.

        Args:
            categories: Mapping of headings to charts, and those to tags: regular expressions.
        """
        shown = layout_pb2.Layout(
            category=[
                layout_pb2.Category(
                    title=heading,
                    chart=[
                        layout_pb2.Chart(
                            title=title, multiline=layout_pb2.MultilineChartContent(tag=[tag])
                        )
                        for title, tag in charts.items()
                    ],
                )
                for heading, charts in categories.items()
            ]
        )
        self._write(0, custom_scalar.pb(shown))

    def text(self, tag: str, markdown: str, step: int = 0) -> None:
        """Adds a text."""
        self._write(step, text_api.text_pb(tag, markdown))

    def close(self) -> None:
        """Closes the file. A second call does nothing."""
        if not self._is_closed:
            self._is_closed = True
            self._records.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _write(self, step: int, summary: Any) -> None:
        # Parts of HParams give TensorFlow's Summary class, which events do not take.
        own = summary_pb2.Summary.FromString(summary.SerializeToString())
        self._add(step, summary=own)

    def _supersede(self, step: int) -> None:
        """Tells TensorBoard to forget what was logged for `step` and later."""
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        # TensorBoard takes the first START of a folder for the first session's and keeps all
        # before it (tensorboard 2.21), so there are two.
        for _ in range(2):
            self._add(step, session_log=start)

    def _add(self, step: int, **content: object) -> None:
        """Writes an event and hands it to the operating system."""
        if self._is_closed:
            raise ValueError(f"Expected an open log. Received: {self._folder}, which was closed.")
        event = event_pb2.Event(wall_time=time.time(), step=step, **content)
        self._records.write(event.SerializeToString())
        self._records.flush()


def _next_event_file(folder: Path) -> Path:
    """A new file, named like TensorBoard's own, by its second.

    TensorBoard reads files in the order of their names, so this one's second comes after all
    others', whatever the clock says.
    """
    seconds = [int(path.suffix[1:]) for path in folder.glob("events.out.tfevents.??????????")]
    return folder / f"events.out.tfevents.{max([int(time.time()) - 1, *seconds]) + 1:010d}"


def _shown(value: object) -> bool | int | float | str:
    """A setting as HParams takes it."""
    if isinstance(value, bool | int | float | str):
        return value
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _kind(value: bool | int | float | str) -> int:
    if isinstance(value, bool):
        return api_pb2.DATA_TYPE_BOOL
    if isinstance(value, str):
        return api_pb2.DATA_TYPE_STRING
    return api_pb2.DATA_TYPE_FLOAT64


def _confusion_image(matrix: np.ndarray, label_names: Sequence[str]) -> tuple[bytes, int]:
    """A confusion matrix as a square PNG, and its side in pixels.

    The picture grows with the classes, so that a label's line is never lower than its letters.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    num_classes = len(label_names)
    has_labels = num_classes <= MOST_CLASSES_WITH_LABELS
    has_counts = num_classes <= MOST_CLASSES_WITH_COUNTS
    names = [_shortened(name) for name in label_names] if has_labels else []
    side = max(2.4, num_classes * (0.6 if has_counts else 0.2))
    margin = 0.7 + 0.08 * max(map(len, names), default=4)
    # Laid out by hand: an automatic layout would change the size and warns when it fails.
    pixels = round((margin + side + 0.2) * PIXELS_PER_INCH)
    inches = pixels / PIXELS_PER_INCH
    figure = Figure(figsize=(inches, inches), dpi=PIXELS_PER_INCH)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((margin / inches, margin / inches, side / inches, side / inches))
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if has_labels:
        # A dollar sign in a label is a dollar sign, not mathematics.
        size = 8 if has_counts else 7
        axes.set_xticks(range(num_classes), names, rotation=90)
        axes.set_yticks(range(num_classes), names)
        for text in (*axes.get_xticklabels(), *axes.get_yticklabels()):
            text.set_parse_math(False)
            text.set_fontsize(size)
    if has_counts:
        for (row, column), count in np.ndenumerate(matrix):
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count}", ha="center", va="center", color=color, fontsize=8)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue(), pixels


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_LABEL else name[: LONGEST_LABEL - 1] + "…"
