"""Keras as tfkd's models are made for: on TensorFlow, in float32, whatever another project set.

`KERAS_BACKEND`, `~/.keras/keras.json` and their like belong to the Keras project that wrote them.
Keras reads them once, when it is imported, so they are settled before; children inherit that.
"""

import os
import sys
from pathlib import Path

from tfkd.errors import ConfigError
from tfkd.quiet import import_tensorflow

# A keras.json of Keras' own defaults lies there.
_SETTINGS_FOLDER = Path(__file__).parent / "models"
# They would end every training early, without a word.
_LIMITS = ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH")
# Public names behind which no Keras is.
_WITHOUT_KERAS = ("LiteRTModel", "Prediction", "predict", "predict_file", "report", "serve")
_HOMES_WITHOUT_KERAS = {
    "tfkd.compression.litert",
    *(f"tfkd.workflows.{verb}" for verb in ("predict", "report", "serve")),
}
# Those of `_WITHOUT_KERAS` that this process asked for.
_asked: set[str] = set()


def settle_command() -> None:
    """Settles Keras for a command and its children, which make no other models than tfkd's."""
    os.environ["KERAS_HOME"] = str(_SETTINGS_FOLDER)
    _settle_variables()


def settle_keras(builds_models: bool = True) -> None:
    """Has Keras run on TensorFlow in float32, or says why it does not.

    Keras' own folder stays the user's, since Keras keeps what it downloads there.

    Args:
        builds_models: Boolean. Whether tfkd will make models, whose numbers Keras' default types
            and formats decide; else they are the caller's.

    Raises:
        ConfigError: Keras is imported already with another backend, or has other settings.
    """
    if "keras" not in sys.modules:
        _settle_variables()
        import_tensorflow()
    import keras

    found = {"backend": (keras.config.backend(), "tensorflow")}
    if builds_models:
        found["dtype policy"] = (keras.config.dtype_policy().name, "float32")
        found["image data format"] = (keras.config.image_data_format(), "channels_last")
    for name, (value, needed) in found.items():
        if value != needed:
            raise ConfigError(
                f"Expected Keras with the {name} {needed}. Received: {value}. Import tfkd's names "
                "before keras, and unset it there and in keras.json."
            )


def _settle_variables() -> None:
    os.environ["KERAS_BACKEND"] = "tensorflow"
    for name in _LIMITS:
        os.environ.pop(name, None)


def settle_for_modules() -> None:
    """The same for modules that a program imports by their full names, before they import Keras.

    Nothing is done for what needs no Keras, which leaves a project's own as it is.

    Raises:
        ConfigError: Keras is imported already with another backend.
    """
    if _asked or not _HOMES_WITHOUT_KERAS.isdisjoint(sys.modules):
        return
    if "keras" in sys.modules:
        settle_keras(builds_models=False)
    else:
        _settle_variables()


def settle_for(name: str) -> None:
    """The same for a public name of tfkd that is about to be imported.

    Args:
        name: String. One of `tfkd.__all__`; nothing is done for those without Keras.
    """
    if name in _WITHOUT_KERAS:
        _asked.add(name)
    elif not name.endswith("Config"):
        settle_keras(builds_models=name != "Distiller")
