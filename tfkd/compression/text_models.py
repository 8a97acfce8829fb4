"""Classifiers that take text: tokenizer and model as one graph, the weights stored once.

One graph is for the LiteRT converter and answers one text; the other is a SavedModel for servers
and answers any number of texts, each batch as wide as its longest text.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import tensorflow as tf

from tfkd.compression.formats import TEXT_SIGNATURE
from tfkd.compression.graph import SCORES
from tfkd.compression.saved_model import lean_graph
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from tfkd.errors import ModelError
from tfkd.models.classifier import TextClassifier
from tfkd.models.text_graph import TextEncoder
from tfkd.models.tokenizers import Tokenizer

# The feature of a `tf.Example` that holds the text.
EXAMPLE_FEATURE = "text"

Arrays = Mapping[str, tf.Tensor]


def write_single_text_model(classifier: TextClassifier, length: int, folder: Path | str) -> None:
    """Writes the SavedModel from which the LiteRT file that takes text is converted.

    Its signature `classify_text` takes `text`, string `[1]`, and gives `scores`, float32
    `[1, num_outputs]`, `token_ids`, int32 `[1, length]`, and for single_label `label_index`, int32
    `[1]`.

    Args:
        classifier: `TextClassifier` of single texts with a WordPiece tokenizer.
        length: Integer. Tokens of a text, padding included.
        folder: Path of the SavedModel.

    Raises:
        ModelError: The tokenizer has no form in a LiteRT file, or the model reads pairs.
    """
    module = tf.Module()
    module.encoder = TextEncoder(classifier.tokenizer.word_piece, length)
    module.model, scores_of = _fixed_model(classifier, length)

    def answer(text: tf.Tensor) -> dict[str, tf.Tensor]:
        arrays = module.encoder.encode_one(text)
        scores = scores_of({name: arrays[name] for name in classifier.input_names})
        # The tokens are told as well, so that any client can hold its tokenizer against them.
        answers = {"scores": scores, "token_ids": arrays["token_ids"]}
        if classifier.task == SINGLE_LABEL:
            answers["label_index"] = tf.argmax(scores, axis=-1, output_type=tf.int32)
        return answers

    module.answer = tf.function(answer, input_signature=[tf.TensorSpec([1], tf.string, "text")])
    tf.saved_model.save(module, str(folder), {TEXT_SIGNATURE: module.answer})


def write_text_saved_model(classifier: TextClassifier, folder: Path | str) -> None:
    """Writes a SavedModel that takes text, for TensorFlow Serving and `tf.saved_model.load`.

    `serving_default` and `predict` take `text`, string `[n]`, and give `scores`, float32
    `[n, num_outputs]`, for single_label `label`, string `[n]`, and for multi_label `decisions`,
    boolean `[n, num_outputs]`, true above a label's threshold. Classifiers have `classify` too,
    which takes `inputs`, `n` serialized `tf.Example` with the feature `text`, and gives `classes`,
    string, and `scores`, float32, both `[n, num_outputs]`; a regression has `regress`, which gives
    `outputs`, float32 `[n, 1]`. The program that loads it needs the operators of tensorflow_text.

    Raises:
        ModelError: The model reads pairs.

    Reference: [TensorFlow Serving's RESTful API](https://www.tensorflow.org/tfx/serving/api_rest)
    """
    module = _ServedModel(classifier)
    signatures = {"serving_default": module.predict, "predict": module.predict}
    method = "regress" if classifier.task == REGRESSION else "classify"
    tf.saved_model.save(module, str(folder), {**signatures, method: getattr(module, method)})
    # `save` knows one method only, and a server answers these by no other name than their own.
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(str(folder))
    updater.replace_method_name(method, f"tensorflow/serving/{method}")
    updater.save()


class _ServedModel(tf.Module):
    """The Keras model behind its tokenizer, for any number of texts."""

    def __init__(self, classifier: TextClassifier) -> None:
        super().__init__()
        self._encoder = _batch_encoder(classifier.tokenizer)
        self._weights = _weights(classifier.model)
        self._classifier = classifier
        self._label_names = list(classifier.label_names)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def predict(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        arrays = self._encoder.encode_batch(text)
        inputs = {name: arrays[name] for name in self._classifier.input_names}
        task = self._classifier.task
        scores = SCORES[task](self._classifier.model(inputs, training=False))
        if task == MULTI_LABEL:
            thresholds = tf.constant(self._classifier.thresholds, tf.float32)
            return {"scores": scores, "decisions": scores > thresholds}
        if task == REGRESSION:
            return {"scores": scores}
        label = tf.gather(tf.constant(self._label_names), tf.argmax(scores, axis=-1))
        return {"scores": scores, "label": label}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = self._scores(inputs)
        classes = tf.broadcast_to(tf.constant([self._label_names]), tf.shape(scores))
        return {"classes": classes, "scores": scores}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def regress(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"outputs": self._scores(inputs)}

    def _scores(self, examples: tf.Tensor) -> tf.Tensor:
        feature = tf.io.FixedLenFeature([], tf.string)
        parsed = tf.io.parse_example(examples, {EXAMPLE_FEATURE: feature})
        return self.predict(parsed[EXAMPLE_FEATURE])["scores"]


class _HubEncoder(tf.Module):
    """A KerasHub preprocessor inside a graph: rows as wide as the longest one."""

    def __init__(self, preprocessor: keras.layers.Layer) -> None:
        super().__init__()
        self._preprocessor = preprocessor

    def encode_batch(self, texts: tf.Tensor) -> Arrays:
        arrays = self._preprocessor(texts)
        sizes = tf.reduce_sum(tf.cast(arrays["padding_mask"], tf.int32), axis=1)
        width = tf.reduce_max(sizes)
        return {name: tf.cast(values[:, :width], tf.int32) for name, values in arrays.items()}


def _batch_encoder(tokenizer: Tokenizer) -> TextEncoder | _HubEncoder:
    """Module whose `encode_batch` turns texts into token arrays."""
    try:
        return TextEncoder(tokenizer.word_piece)
    except ModelError:
        # Byte pairs have no operators in a LiteRT file, but TensorFlow's own do.
        return _HubEncoder(tokenizer.preprocessor)


def _fixed_model(
    classifier: TextClassifier, length: int
) -> tuple[tf.Module | list[tf.Variable], Callable[[Arrays], tf.Tensor]]:
    """Holder of the weights, and the function from token arrays `[1, length]` to scores."""
    lean, _ = lean_graph(classifier)
    if lean is not None:
        endpoint = lean.endpoint(length, "scores")
        return lean, lambda arrays: endpoint(arrays)["scores"]
    score = SCORES[classifier.task]
    return _weights(classifier.model), lambda arrays: score(
        classifier.model(arrays, training=False)
    )


def _weights(model: keras.Model) -> list[tf.Variable]:
    """Variables for a module to hold: TensorFlow sees only these, not Keras' own."""
    return [weight.value for weight in model.weights]
