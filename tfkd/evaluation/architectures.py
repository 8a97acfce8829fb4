"""Result of `tfkd analyze`: sizes of architectures, times of their files, and both as tables."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from tfkd import artifacts
from tfkd.evaluation.latency import Latency
from tfkd.evaluation.table import Shown, Table, figures, words


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
        table_parameters: Those that are rows of the token table.
        files: `FileFigures`.
    """

    name: str
    is_trained: bool
    parameters: int
    table_parameters: int
    files: tuple[FileFigures, ...]


@dataclasses.dataclass(frozen=True)
class Conditions:
    """The texts that all models were asked, and the way they were timed.

    Attributes:
        dataset: Name of the data set.
        fingerprint: Changes when any of its texts that were timed does.
        texts: Number of texts.
        rounds: Timed passes over them.
        threads: Threads of one prediction.
        lengths: Tokens the texts were filled to; empty: texts as they are.
        tokenizer: Origin of the size words' tokens.
    """

    dataset: str
    fingerprint: str
    texts: int
    rounds: int
    threads: int
    lengths: tuple[int, ...]
    tokenizer: str


@dataclasses.dataclass(frozen=True, repr=False)
class AnalyzeResult(Shown):
    """Architectures in the order asked for; time ratios are to the first one's same kind of file.

    Attributes:
        architectures: `Architecture` of each model.
        conditions: `Conditions`.
        command: The command that gives it again.
    """

    architectures: tuple[Architecture, ...]
    conditions: Conditions
    command: str

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {**dataclasses.asdict(self), "versions": artifacts.versions()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The result of `to_dict` again."""
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

    def render(self) -> list[Table | str]:
        """Lines and tables for the console."""
        return [*self.tables(), self.note()]

    def markdown(self) -> str:
        """The page `analysis.md`."""
        tables = "\n\n".join(table.markdown() for table in self.tables())
        return f"# Size and time\n\n{tables}\n\n{self.note()}\n\n    {self.command}\n"

    def tables(self) -> list[Table]:
        """Sizes, then times for each length."""
        times = [self._times(index, title) for index, title in enumerate(self._lengths())]
        return [self._sizes(), *times]

    def note(self) -> str:
        """A note for the reader of the tables."""
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

    def _sizes(self) -> Table:
        items = self.architectures
        shares = [item.table_parameters / item.parameters for item in items]
        columns = [
            words("Model", [item.name for item in items]),
            words("Weights", ["given" if item.is_trained else "untrained" for item in items]),
            figures("Parameters", [item.parameters for item in items], "{:,}"),
            figures("Token table", [item.table_parameters for item in items], "{:,}"),
            figures("Share", shares, "{:.0%}"),
        ]
        for place, file in enumerate(items[0].files):
            sizes = [item.files[place].size_bytes / 1e6 for item in items]
            columns.append(figures(f"{file.kind}, MB", sizes, "{:.2f}"))
        return Table([*columns, words("Graph", [item.files[-1].graph for item in items])])

    def _times(self, index: int, title: str) -> Table:
        """Kind by kind, the file of each model."""
        kinds = range(len(self.architectures[0].files))
        rows = [(item.name, item.files[kind]) for kind in kinds for item in self.architectures]
        files = [file for _, file in rows]
        times = [file.latencies[index] for file in files]
        first = {file.kind: file.latencies[index] for file in self.architectures[0].files}
        ratios = [file.latencies[index].p50_ms / first[file.kind].p50_ms for file in files]
        return Table(
            [
                words(f"Model, {title}", [name for name, _ in rows]),
                words("File", [file.kind for file in files]),
                figures("First call, ms", [file.first_call_ms for file in files], "{:.1f}"),
                figures("p50, ms", [time.p50_ms for time in times], "{:.2f}"),
                figures("p95, ms", [time.p95_ms for time in times], "{:.2f}"),
                figures("Time ratio", ratios, "{:.3f}"),
                figures("Memory, MB", [file.peak_memory_bytes / 1e6 for file in files], "{:.0f}"),
            ]
        )
