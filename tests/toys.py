"""Small things that many tests need: words, tokenizers, encoders, weights that hide nothing."""

import csv
import importlib
import io
import itertools
import json
import threading

import keras
import keras_hub
import numpy as np
import pytest

from tfkd import artifacts
from tfkd.compression.conversion import signature_lengths, write_files
from tfkd.data.demo import demo_dataset
from tfkd.models.classifier import TextClassifier
from tfkd.models.encoder import build_encoder_classifier
from tfkd.models.tokenizers import RESERVED_TOKENS, Tokenizer
from tfkd.parts import temporary_folder
from tfkd.progress import Progress

QUIET = Progress(quiet=True)
WORDS = "a the river bank harbour bridge boat rises falls under over again night rain".split()
# What a child of the converter does with its job, by its module.
CHILDREN = {
    "tfkd.compression.conversion": "_main",
    "tfkd.compression.package_writer": "write",
    "tfkd.compression.qat.export": "write_file",
}
# Byte pairs of RoBERTa, not in the order of the indices, as in some published files.
BYTE_PAIRS = {
    "<s>": 0,
    "<pad>": 1,
    "</s>": 2,
    "<unk>": 3,
    "oil": 8,
    "o": 4,
    "i": 5,
    "l": 6,
    "oi": 7,
    "Ġ": 9,
    "Ġoil": 10,
    "<mask>": 11,
}
MERGES = ["o i", "oi l", "Ġ oil"]


class Stopped(Exception):
    """The session ended here."""


class Stopping(Progress):
    """Ends the session at the n-th thing said that starts so."""

    def __init__(self, count=1, start=""):
        super().__init__(quiet=True)
        self.count, self.start = count, start

    def say(self, text):
        self.count -= text.startswith(self.start)
        if self.count == 0:
            raise Stopped(text)


def demo_rows(folder, **counts):
    """The first rows of each split of the demo set as files, which are read in no time."""
    dataset = demo_dataset()
    for split, count in counts.items():
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", "label"])
            for example in itertools.islice(dataset.splits[split], count):
                writer.writerow([*example.texts, dataset.label_names[example.label]])
    return folder


def texts_of_words(num_texts, longest):
    """Texts of 1 to `longest` - 1 random words."""
    random = np.random.default_rng(0)
    return [" ".join(random.choice(WORDS, random.integers(1, longest))) for _ in range(num_texts)]


def vocabulary_of(words):
    """A vocabulary that starts with BERT's reserved tokens; words as a list or in one text."""
    return [*RESERVED_TOKENS, *(words.split() if isinstance(words, str) else words)]


def wordpiece_tokenizer(vocabulary, sequence_length=16, family="Bert", **rules):
    """A tokenizer of KerasHub's BERT or DistilBERT, lower case."""
    kind = getattr(keras_hub.models, f"{family}TextClassifierPreprocessor")
    pieces = getattr(keras_hub.models, f"{family}Tokenizer")
    return Tokenizer(kind(pieces(vocabulary, **{"lowercase": True, **rules}), sequence_length))


def byte_pair_tokenizer(sequence_length=16, merges=MERGES):
    """A tokenizer of KerasHub's RoBERTa."""
    pieces = keras_hub.models.RobertaTokenizer(BYTE_PAIRS, merges)
    return Tokenizer(keras_hub.models.RobertaTextClassifierPreprocessor(pieces, sequence_length))


def tiny_backbone(vocabulary_size, family="Bert", **sizes):
    """An encoder of KerasHub as it starts: one layer of two heads, 32 numbers a token."""
    width = sizes.get("hidden_dim", 32)
    kind = getattr(keras_hub.models, f"{family}Backbone")
    return kind(
        vocabulary_size,
        **{
            "num_layers": 1,
            "num_heads": 2,
            "hidden_dim": width,
            "intermediate_dim": 2 * width,
            "max_sequence_length": 16,
            **sizes,
        },
    )


def spread_out(model, size=0.3):
    """The model with weights as large as trained ones.

    Fresh logits of BERT lie within 0.01, where any two files are alike.
    """
    random = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(weight + size * random.standard_normal(weight.shape).astype("float32"))
    return model


def classifier_of(model, words=WORDS, vocabulary_size=60, length=12, labels=("a", "b", "c")):
    """A classifier of single labels whose tokenizer has learned the words."""
    tokenizer = Tokenizer.learn(words, vocabulary_size, length)
    return TextClassifier(model, tokenizer, "single_label", labels)


def frozen_encoder(folder, texts, label_names):
    """The folder of a classifier whose small encoder is to be frozen under a bottleneck."""
    keras.utils.set_random_seed(0)
    tokenizer = Tokenizer.learn(texts, 300, 24)
    encoder = tiny_backbone(tokenizer.vocabulary_size, hidden_dim=24, max_sequence_length=32)
    model = build_encoder_classifier(encoder, len(label_names))
    TextClassifier(model, tokenizer, "single_label", label_names).save(folder)
    return folder


def convert_here(folder, recipes, lengths, output_folder, timeout_seconds=0.0, calibration=None):
    """`conversion.convert` without the child that it starts, which imports TensorFlow anew: 5 s."""
    sequence_length = artifacts.read_json(folder / "classifier.json")["sequence_length"]
    lengths = signature_lengths(sequence_length, lengths)
    return write_files(folder, recipes, lengths, output_folder, calibration)


_ONE_AT_A_TIME = threading.Lock()


def run_fresh_here(module, job, purpose, timeout_seconds, environment=None, stepped=None):
    """`process.run_fresh` without its child: the same job and answer, through the same JSON."""
    told = []
    with _ONE_AT_A_TIME, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.StringIO(json.dumps(job)))
        patch.setattr("tfkd.process._tell", told.append)
        importlib.import_module(module)._main()
    return json.loads(told[-1].removeprefix("tfkd-answer: "))


def run_converter_here(module, job, purpose, timeout_seconds, calibration=None):
    """`conversion.run_converter` without its child: the same job, read from the same JSON."""
    work = getattr(importlib.import_module(module), CHILDREN[module])
    with temporary_folder() as folder:
        path = folder / "calibration.npz"
        if calibration is not None:
            calibration.save(path)
        path = None if calibration is None else str(path)
        work(json.loads(json.dumps({**job, "calibration": path})))
