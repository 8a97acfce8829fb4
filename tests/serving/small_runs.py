"""Runs with a real file that need no training."""

import keras

from tfkd.artifacts import RunFolder
from tfkd.compression.conversion import write_files
from tfkd.models.classifier import TextClassifier
from tfkd.models.tokenizers import Tokenizer

WORDS = "rain goal vote team river boat bridge night harbour old slow clear".split()
LABELS = ("weather", "sport", "politics")


def small_classifier(seed=3, labels=LABELS):
    """The mean of random vectors, so that every word and its number counts."""
    keras.utils.set_random_seed(seed)
    tokenizer = Tokenizer.learn(WORDS * 5, 100, 32)
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name)
        for name in ("token_ids", "padding_mask")
    }
    vectors = keras.layers.Embedding(tokenizer.vocabulary_size, 16, "normal")(inputs["token_ids"])
    is_real = keras.ops.expand_dims(keras.ops.cast(inputs["padding_mask"], "float32"), -1)
    kernel = keras.initializers.RandomNormal(0, 9)
    logits = keras.layers.Dense(len(labels), kernel_initializer=kernel)(
        keras.ops.sum(vectors * is_real, axis=1)
    )
    return TextClassifier(keras.Model(inputs, logits), tokenizer, "single_label", labels)


def small_run(path, classifier):
    """A run of it with one file, dynamic_int8."""
    folder = RunFolder(path)
    folder.start("finetune", {"dataset": "demo"}, overwrite=False)
    classifier.save(folder.model)
    write_files(folder.model, ["dynamic_int8"], (16, 32), folder.model)
    return folder
