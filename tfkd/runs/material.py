"""First steps of every training verb: find the data, check every row, tokenize once."""

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tfkd import artifacts
from tfkd.artifacts import JsonObject, fingerprint
from tfkd.config.data import BALANCED, DataConfig
from tfkd.config.training import DistillConfig, TrainingConfig
from tfkd.data import sources, tokens
from tfkd.data.augmentation import Augmented, Snippets, fitting_copies, words_of
from tfkd.data.checks import SplitSummary, check, with_headline
from tfkd.data.columns import ColumnNames, Reading
from tfkd.data.duplicates import said_of
from tfkd.data.examples import MULTI_LABEL, SINGLE_LABEL, Dataset, Example, Texts, listing
from tfkd.data.files import UNLABELLED
from tfkd.data.kept_rows import KeptExamples
from tfkd.data.survey import SAID_BEFORE_TRAINING, survey
from tfkd.data.tokens import Tokens
from tfkd.data.transfer import Apart, Joined, Unlabelled, unlabelled
from tfkd.errors import ConfigError
from tfkd.locks import CACHE, locked
from tfkd.models.classifier import TextClassifier, batch_texts
from tfkd.models.near_words import known_words, near_words, word_vectors
from tfkd.models.tokenizers import Tokenizer
from tfkd.progress import Progress
from tfkd.runs.settings import RUNS as RUNS

# Train and, behind its rows, what has no label.
TRANSFER = "transfer"


@dataclasses.dataclass(frozen=True)
class Material:
    """A checked data set and the cache of its tokens.

    Attributes:
        dataset: `Dataset`.
        summaries: `SplitSummary` of each split: rows, fingerprint, class counts.
        cache: Folder shared by all runs beside each other.
        progress: `Progress` that shows what is done.
        config: `DataConfig` that names the rows; None where nobody asks for others.
    """

    dataset: Dataset
    summaries: dict[str, SplitSummary]
    cache: Path
    progress: Progress
    config: DataConfig | None = None

    @property
    def transfer(self) -> str:
        """The split that teachers answer: train, or that with rows behind it without labels."""
        return TRANSFER if TRANSFER in self.summaries else "train"

    @property
    def class_weights(self) -> np.ndarray | None:
        """Weight of each class's labels in the loss; None where all rows count alike."""
        if self.config is None or self.config.class_weight != BALANCED:
            return None
        return self.summaries["train"].balanced_weights

    def weights(self, split: str) -> np.ndarray | None:
        """How much each row counts in all of the loss: float32 `[num_rows]`; None: all alike."""
        if self.config is None or self.config.weight_column is None:
            return None
        return np.array([row.weight for row in self.dataset.splits[split]], np.float32)

    def label_weights(self, labels: np.ndarray) -> np.ndarray | None:
        """How much each label of train counts: its row's weight times its class's; None: alike."""
        rows, classes = self.weights("train"), self.class_weights
        if classes is None:
            return rows
        return classes[labels] * (1 if rows is None else rows)

    def unlabelled_rows(self, config: DistillConfig) -> Apart | None:
        """The texts without a label as rows, or None if there are none.

        Those of train that lack one come first. A text that is held out is left out.

        Raises:
            DatasetError: They cannot be had.
        """
        splits, given = self.dataset.splits, self._given_rows(config)
        parts = [splits[UNLABELLED]] if UNLABELLED in splits else []
        parts += [] if given is None else [given]
        if not parts:
            return None
        return Apart(Joined(tuple(parts)), self.dataset)

    def _given_rows(self, config: DistillConfig) -> Iterable[Example] | None:
        """The texts of `--unlabelled` as rows; nothing is read yet."""
        if config.unlabelled is None:
            return None
        load = functools.partial(
            sources.load_texts, data_dir=config.data_dir, names=ColumnNames.of(config)
        )
        unit, most = config.transfer_unit, config.max_transfer_rows
        return unlabelled(config.unlabelled, self.dataset, load, unit, most)

    def check_transfer(self, config: DistillConfig) -> None:
        """Reads the unlabelled texts once, before a teacher is trained for nothing.

        Raises:
            DatasetError: They cannot be had, or one is bad.
        """
        rows = self.unlabelled_rows(config)
        if rows is not None:
            with self.progress.stage("read and check"):
                check(dataclasses.replace(self.dataset, splits={TRANSFER: rows}), [TRANSFER])
                if rows.num_left_out:
                    said = "texts without a label left out, being rows of validation or test"
                    self.progress.say(f"{said}: {rows.num_left_out:,}")

    def with_transfer(self, config: DistillConfig, teacher: TextClassifier | None) -> "Material":
        """The same with what teachers answer beyond the training texts.

        Raises:
            DatasetError: The unlabelled texts cannot be had, or one is bad.
        """
        texts, more = self.dataset.splits["train"], self.unlabelled_rows(config)
        if more is not None:
            texts = KeptExamples.of(Joined((texts, more)))
        copies = _copies(config, texts) if teacher else 0
        if not copies and more is None:
            return self
        parts = [texts]
        said = "read what the teachers answer beside the training texts"
        with self.progress.stage("read and check", said):
            if copies and teacher:
                parts = self._altered(texts, copies, config, teacher)
            splits = {**self.dataset.splits, TRANSFER: KeptExamples.of(Joined(tuple(parts)))}
            dataset = dataclasses.replace(self.dataset, splits=splits)
            summaries = {**self.summaries, **check(dataset, [TRANSFER])}
        return dataclasses.replace(self, dataset=dataset, summaries=summaries)

    def _altered(
        self, texts: Iterable[Example], copies: int, config: DistillConfig, teacher: TextClassifier
    ) -> list[Iterable[Example]]:
        """The texts and altered copies of them, and snippets with each word the teacher knows.

        Whoever says how many copies gets these alone.
        """
        seed, known = config.split_seed, known_words(teacher.model, teacher.tokenizer.vocabulary)
        vectors = word_vectors(teacher, known, self.cache, self.progress) if known else np.empty(0)
        near = near_words(known, vectors, words_of(texts))
        parts: list[Iterable[Example]] = [Augmented(texts, copies, seed, near)]
        said = f"altered copies of each text: {copies}"
        if known and self.dataset.num_texts == 1 and config.augmented_copies is None:
            parts.append(Unlabelled(Snippets(texts, known, seed=seed), self.dataset.task))
            said += f"; words, alone and in snippets: {len(known):,}"
        self.progress.say(said)
        return parts

    def of(self, config: DataConfig) -> "Material":
        """The rows that a config names: these, or others that are read now."""
        names = {field.name for field in dataclasses.fields(DataConfig)} - {"seed", "data_dir"}
        mine = self.config
        if mine is None or all(getattr(mine, name) == getattr(config, name) for name in names):
            return self
        return prepare(config, self.cache.parent, self.progress)

    def tokens(self, split: str, tokenizer: Tokenizer) -> Tokens:
        """The split's tokens, from the cache when they were made before."""
        mark = fingerprint(
            {
                "data": self.summaries[split].fingerprint,
                "tokenizer": tokenizer.fingerprint,
                # Rows of labels are as wide as there are classes, of which rows need not name all.
                **(
                    {"labels": self.dataset.num_outputs} if self.dataset.task == MULTI_LABEL else {}
                ),
            }
        )
        folder = self.cache / "tokens" / mark
        found = tokens.kept(folder, mark, lambda damage: None)
        if found is not None:
            return found
        with self.progress.stage("tokenize"), locked(folder):
            found = tokens.kept(folder, mark, self.progress.say)
            if found is not None:
                return found
            return tokens.write(
                folder,
                self.dataset.splits[split],
                tokenizer.encode,
                self.dataset.task,
                self.dataset.num_outputs,
                mark,
                (self.progress, self.summaries[split].num_rows),
            )

    def labels(self, split: str) -> np.ndarray:
        """The labels of a split's rows, as `tfkd.data.tokens.Tokens` has them."""
        rows = [row.label for row in self.dataset.splits[split]]
        return tokens.label_array(rows, self.dataset.task, self.dataset.num_outputs)

    def record(self) -> JsonObject:
        """`describe`, and where the data lie, for the config.json of a run."""
        named = self.config
        place = sources.place(named.dataset, named.data_dir) if named else None
        return {**self.describe(), "place": place}

    def describe(self) -> JsonObject:
        """Name, rows and fingerprint of each split, and repairs, for metrics.json."""
        repairs = {
            split: dict(counts) for split, counts in self.dataset.repairs().items() if counts
        }
        return {
            "dataset": self.dataset.name,
            "task": self.dataset.task,
            "metric": self.dataset.metric,
            "label_names": list(self.dataset.label_names),
            "splits": {
                name: {"num_rows": summary.num_rows, "fingerprint": summary.fingerprint}
                for name, summary in self.summaries.items()
            },
            **({"repairs": repairs} if repairs else {}),
        }


def _copies(config: DistillConfig, texts: Iterable[Example]) -> int:
    """Altered copies of each text: as many as are asked for, or as few texts need.

    A frozen encoder, which would have to read them all, has none where nobody says.
    """
    if config.augmented_copies is not None:
        return config.augmented_copies
    return 0 if config.bottleneck else fitting_copies(sum(1 for _ in texts))


def load_dataset(config: DataConfig) -> Dataset:
    """The data set that is asked for, split as it is asked for; no row is read."""
    return sources.load(
        config.dataset,
        config.data_dir,
        {"validation": config.validation_fraction, "test": config.test_fraction},
        config.split_seed,
        config.max_train_rows,
        config.test_split,
        Reading.of(config),
    )


def prepare(
    config: DataConfig,
    runs: Path,
    progress: Progress,
    splits: Sequence[str] = artifacts.SPLITS,
) -> Material:
    """Loads a data set and reads every row once, so that a bad one is found before training.

    Raises:
        ConfigError: Classes are to be weighed where a row is of no one class.
        DatasetError: The data set cannot be had, or a row is bad.
    """
    with progress.stage("read and check"):
        dataset = load_dataset(config)
        if config.class_weight == BALANCED and dataset.task != SINGLE_LABEL:
            raise ConfigError(
                f"Expected `class_weight` none for a {dataset.task} task, whose rows are of no one "
                f"class. Received: class_weight={BALANCED!r}. Leave it out."
            )
        progress.say(f"read and check {dataset.name}")
        if dataset.columns:
            progress.say(f"columns: {dataset.columns}")
        progress.say(f"labels: {dataset.labels}")
        summaries = check(dataset, splits)
    counts = ", ".join(f"{name} {item.num_rows:,}" for name, item in summaries.items())
    sampled = "; train is a sample with each class in its share" if dataset.is_sampled else ""
    progress.say(f"rows: {counts}{sampled}")
    for line in said_of(dataset.repairs()):
        progress.say(line)
    if isinstance(config, TrainingConfig):
        for finding in survey(dataset).findings():
            if finding.kind in SAID_BEFORE_TRAINING:
                progress.say(str(finding))
    for said in (*_gaps(dataset, summaries), *dataset.findings()):
        progress.say(said)
    if "train" in summaries and not sources.is_listed(config.dataset):
        is_balanced = config.class_weight == BALANCED
        dataset = with_headline(dataset, summaries["train"], progress, is_balanced)
    return Material(dataset, summaries, runs / CACHE, progress, config)


def _gaps(dataset: Dataset, summaries: Mapping[str, SplitSummary]) -> list[str]:
    """What is to be said of classes that no row of train, or of test alone, belongs to."""
    if "train" not in summaries:
        return []
    rows = dict(zip(dataset.label_names, summaries["train"].class_counts, strict=False))
    tested = summaries["test"].class_counts if "test" in summaries else tuple(rows.values())
    missing = {"train": [name for name, count in rows.items() if not count]}
    missing["test"] = [
        f"{name} ({count:,} of train)"
        for (name, count), found in zip(rows.items(), tested, strict=False)
        if count and not found
    ]
    return [
        f"without a row of {split}: {listing(names)}" for split, names in missing.items() if names
    ]


def first_texts(rows: Iterable[Example], count: int) -> Texts:
    """The texts of the first rows, as `predict` takes them."""
    return batch_texts([example.texts for example in itertools.islice(rows, count)])
