"""What every training verb does first: find the data, check every row, tokenize once."""

import dataclasses
from pathlib import Path

from tfkd.artifacts import fingerprint
from tfkd.config import DataConfig
from tfkd.data import sources, tokens
from tfkd.data.checks import SplitSummary, check
from tfkd.data.examples import Dataset
from tfkd.data.tokens import Tokens
from tfkd.models.tokenizers import Tokenizer
from tfkd.progress import Progress

RUNS = Path("saved_models")
CACHE = "cache"


@dataclasses.dataclass(frozen=True)
class Material:
    """A checked data set and where its tokens are kept.

    Attributes:
        dataset: `Dataset`.
        summaries: `SplitSummary` of each split: rows, fingerprint, class counts.
        cache: Folder shared by all runs beside each other.
        progress: Where to show what is done.
    """

    dataset: Dataset
    summaries: dict[str, SplitSummary]
    cache: Path
    progress: Progress

    def tokens(self, split: str, tokenizer: Tokenizer) -> Tokens:
        """The split's tokens, from the cache when they were made before."""
        mark = fingerprint(
            {"data": self.summaries[split].fingerprint, "tokenizer": tokenizer.fingerprint}
        )
        folder = self.cache / "tokens" / mark
        if folder.is_dir():
            return Tokens.load(folder, mark)
        return tokens.write(
            folder, self.dataset.splits[split], tokenizer.encode, self.dataset.task,
            self.dataset.num_outputs, mark, (self.progress, self.summaries[split].num_rows),
        )  # fmt: skip

    def describe(self) -> dict[str, object]:
        """Name, rows and fingerprint of each split, for metrics.json."""
        return {
            "dataset": self.dataset.name,
            "task": self.dataset.task,
            "splits": {
                name: {"num_rows": summary.num_rows, "fingerprint": summary.fingerprint}
                for name, summary in self.summaries.items()
            },
        }


def prepare(config: DataConfig, runs: Path, progress: Progress) -> Material:
    """Loads a data set and reads every row once, so that a bad one is found before training.

    Raises:
        DatasetError: The data set cannot be had, or a row is bad.
    """
    dataset = sources.load(
        config.dataset, config.data_dir, config.validation_fraction, config.seed,
        config.max_train_rows,
    )  # fmt: skip
    progress.say(f"read and check {dataset.name}")
    summaries = check(dataset)
    counts = ", ".join(f"{name} {item.num_rows:,}" for name, item in summaries.items())
    progress.say(f"rows: {counts}")
    return Material(dataset, summaries, runs / CACHE, progress)
