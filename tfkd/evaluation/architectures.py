"""What `tfkd analyze` found: sizes of architectures, their files' times, and both as tables."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tfkd import artifacts
from tfkd.evaluation.latency import Latency

SIZE_TITLES = ("Model", "Weights", "Parameters", "Token table", "Share")
TIME_TITLES = ("Model", "File", "First call, ms", "p50, ms", "p95, ms", "Time ratio", "Memory, MB")
_WORDS = {"Model", "Weights", "File", "Graph"}


@dataclasses.dataclass(frozen=True)
class FileFigures:
    """One file of an architecture.

    Attributes:
        kind: "keras" or a recipe.
        size_bytes: Bytes of the file.
        graph: "keras", or the route of a LiteRT file: "lean" or "plain".
        logit_difference: Largest difference to the Keras model's logits on the texts.
        first_call_ms: Milliseconds of the first text in a fresh process.
        peak_memory_bytes: Peak resident memory of that process.
        latencies: `Latency` of warm calls, one for each length.
    """

    kind: str
    size_bytes: int
    graph: str
    logit_difference: float
    first_call_ms: float
    peak_memory_bytes: int
    latencies: tuple[Latency, ...]


@dataclasses.dataclass(frozen=True)
class Architecture:
    """One model and its files, the Keras one first.

    Attributes:
        name: As the user wrote it.
        is_trained: Whether its weights are somebody's, not random ones.
        parameters: Number of weights, head included.
        table_parameters: How many of them are rows of the token table.
        files: `FileFigures`.
    """

    name: str
    is_trained: bool
    parameters: int
    table_parameters: int
    files: tuple[FileFigures, ...]


@dataclasses.dataclass(frozen=True)
class Conditions:
    """What all models were asked, and how.

    Attributes:
        dataset: Name of the data set.
        fingerprint: Changes when any of its texts that were timed does.
        texts: How many texts.
        rounds: Timed passes over them.
        threads: Threads of one prediction.
        lengths: Tokens the texts were filled to; empty: texts as they are.
        tokenizer: Where the size words' tokens come from.
    """

    dataset: str
    fingerprint: str
    texts: int
    rounds: int
    threads: int
    lengths: tuple[int, ...]
    tokenizer: str


@dataclasses.dataclass(frozen=True)
class AnalyzeResult:
    """Architectures in the order asked for; time ratios are to the first one's same kind of file.

    Attributes:
        architectures: `Architecture` of each model.
        conditions: `Conditions`.
        command: The command that gives it again.
    """

    architectures: tuple[Architecture, ...]
    conditions: Conditions
    command: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**dataclasses.asdict(self), "versions": artifacts.versions()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `to_dict` gave."""
        architectures = []
        for item in values["architectures"]:
            files = []
            for file in item["files"]:
                latencies = tuple(Latency(**latency) for latency in file["latencies"])
                files.append(FileFigures(**{**file, "latencies": latencies}))
            architectures.append(Architecture(**{**item, "files": tuple(files)}))
        asked = values["conditions"]
        conditions = Conditions(**{**asked, "lengths": tuple(asked["lengths"])})
        return cls(tuple(architectures), conditions, values["command"])

    def render(self) -> list[Any]:
        """What the command line shows."""
        return [*map(_console, self.tables()), self.note()]

    def markdown(self) -> str:
        """The page `analysis.md`."""
        tables = "\n\n".join(map(_markdown, self.tables()))
        return f"# Size and time\n\n{tables}\n\n{self.note()}\n\n    {self.command}\n"

    def tables(self) -> list[list[Sequence[str]]]:
        """Sizes, then times for each length: rows of cells, titles first."""
        times = [self._times(index, title) for index, title in enumerate(self._lengths())]
        return [self._sizes(), *times]

    def note(self) -> str:
        """How to read the tables."""
        asked = self.conditions
        untrained = (
            " Untrained models have random weights and the published number of table rows; their "
            f"tokens are those of {asked.tokenizer}, rows beyond them stay unused."
        )
        return (
            "MB: 10^6 bytes of real files. p50, p95: one text a call with its tokenization, warm, "
            f"models in turns, {asked.texts} texts of {asked.dataset}, {asked.rounds} rounds, "
            f"{asked.threads} thread(s). First call, memory: a fresh process, interpreter and "
            "libraries included; a first call also traces and packs, so it compares no models. "
            "Time ratio: to the first model's file of the same kind."
        ) + ("" if all(item.is_trained for item in self.architectures) else untrained)

    def _lengths(self) -> list[str]:
        return [f"{length} tokens" for length in self.conditions.lengths] or ["texts as they are"]

    def _sizes(self) -> list[Sequence[str]]:
        kinds = [file.kind for file in self.architectures[0].files]
        rows: list[Sequence[str]] = [(*SIZE_TITLES, *(f"{kind}, MB" for kind in kinds), "Graph")]
        for item in self.architectures:
            rows.append(
                (
                    item.name,
                    "given" if item.is_trained else "untrained",
                    f"{item.parameters:,}",
                    f"{item.table_parameters:,}",
                    f"{item.table_parameters / item.parameters:.0%}",
                    *(f"{file.size_bytes / 1e6:.2f}" for file in item.files),
                    item.files[-1].graph,
                )
            )
        return rows

    def _times(self, index: int, title: str) -> list[Sequence[str]]:
        rows: list[Sequence[str]] = [(f"Model, {title}", *TIME_TITLES[1:])]
        for place, first in enumerate(self.architectures[0].files):
            for item in self.architectures:
                file = item.files[place]
                latency = file.latencies[index]
                ratio = latency.p50_ms / first.latencies[index].p50_ms
                rows.append(
                    (
                        item.name,
                        file.kind,
                        f"{file.first_call_ms:.1f}",
                        f"{latency.p50_ms:.2f}",
                        f"{latency.p95_ms:.2f}",
                        f"{ratio:.3f}",
                        f"{file.peak_memory_bytes / 1e6:.0f}",
                    )
                )
        return rows


def _is_words(title: str) -> bool:
    return title.split(",")[0] in _WORDS


def _console(rows: list[Sequence[str]]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False)
    for title in rows[0]:
        table.add_column(title, justify="left" if _is_words(title) else "right")
    for row in rows[1:]:
        table.add_row(*row)
    return table


def _markdown(rows: list[Sequence[str]]) -> str:
    marks = [":---" if _is_words(title) else "---:" for title in rows[0]]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], marks, *rows[1:]))
