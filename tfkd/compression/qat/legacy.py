"""The only way to TF-MOT and to tf_keras, the Keras 2 it is made of.

`from tfkd.compression.qat.legacy import tf_keras, tfmot` leaves the process as it was: TF-MOT sets
`TF_USE_LEGACY_KERAS`, and whoever touches TensorFlow's own `keras` for the first time after that
gets Keras 2. So that name is settled before, and the variable is put back. All of this is order of
imports, so it is a module of its own.
"""

import operator
import os
import warnings

import tensorflow as tf

_SWITCH = "TF_USE_LEGACY_KERAS"

_before = os.environ.get(_SWITCH)
# TensorFlow decides which Keras it means at the first use of any name of it.
operator.attrgetter("keras.Model")(tf)
try:
    with warnings.catch_warnings():
        # TF-MOT 0.8.1 compares versions with `distutils`.
        warnings.simplefilter("ignore", DeprecationWarning)
        import tensorflow_model_optimization as tfmot
        import tf_keras
finally:
    if _before is None:
        os.environ.pop(_SWITCH, None)
    else:
        os.environ[_SWITCH] = _before

# What layers take and give while a functional model is put together.
KerasTensor = tf_keras.__internal__.KerasTensor

__all__ = ["KerasTensor", "tf_keras", "tfmot"]
