"""Importing TF-MOT through `legacy` changes nothing that Keras 3 code can see."""

import os
import subprocess
import sys

TRAINING = """
import os, sys
import keras, numpy as np, tensorflow as tf
import tfkd.compression.operators, tfkd.compression.export, tfkd.compression.package

def losses():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    return model.fit(np.ones((4, 3)), np.ones((4, 2)), epochs=2, verbose=0).history["loss"]

before = losses()
assert not {"tf_keras", "tensorflow_model_optimization"} & set(sys.modules), "imported unasked"
# Nothing has touched TensorFlow's own Keras yet, so this import could settle what it is.
from tfkd.compression.qat.legacy import tf_keras, tfmot
assert "TF_USE_LEGACY_KERAS" not in os.environ
assert tf.keras.Model is keras.Model
assert tf_keras.Model is not keras.Model
assert issubclass(tfmot.quantization.keras.quantizers.Quantizer, object)
assert losses() == before
print("the same")
"""
CHOSEN = """
import os
from tfkd.compression.qat.legacy import tf_keras
import tensorflow as tf
print(tf.keras.Model is tf_keras.Model, os.environ["TF_USE_LEGACY_KERAS"])
"""


def run(code, **variables):
    environment = {name: os.environ[name] for name in os.environ if name != "TF_USE_LEGACY_KERAS"}
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment | variables
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_keras_3_is_the_same_before_and_after():
    assert run(TRAINING) == "the same\n"


def test_a_user_who_chose_keras_2_keeps_it():
    assert run(CHOSEN, TF_USE_LEGACY_KERAS="1") == "True 1\n"
