"""The environment of another Keras project changes no model, or is refused in one line."""

import json
import os
import subprocess
import sys

import keras
import pytest

from tests.messages import exactly
from tests.toys import byte_pair_tokenizer
from tfkd.compression.litert import _read_tokenizer
from tfkd.errors import ConfigError
from tfkd.keras_environment import settle_for, settle_keras

SHOW = (
    "import keras; c = keras.config; from keras.src.backend.config import max_epochs;"
    "print(c.backend(), c.floatx(), c.image_data_format(), c.epsilon(), max_epochs())"
)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Variables of another project, whose keras.json differs in everything."""
    home = tmp_path_factory.mktemp("keras")
    settings = {
        "backend": "jax",
        "floatx": "float16",
        "image_data_format": "channels_first",
        "epsilon": 0.5,
    }
    (home / "keras.json").write_text(json.dumps(settings))
    return {**os.environ, "KERAS_HOME": str(home), "KERAS_MAX_EPOCHS": "1"}


def ended(code, environment):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )


def message(name, needed, value):
    return (
        f"Expected Keras with the {name} {needed}. Received: {value}. Import tfkd's names before "
        "keras, and unset it there and in keras.json."
    )


@pytest.mark.parametrize(
    "statement",
    ["import tfkd; tfkd.Distiller", "import tfkd.models.classifier, tfkd.distillation.distiller"],
)
def test_tensorflow_is_taken_whatever_is_set(elsewhere, statement):
    environment = {**elsewhere, "KERAS_BACKEND": "torch"}
    found = ended(f"{statement}; {SHOW}", environment)
    assert found.stdout == "tensorflow float16 channels_first 0.5 None\n", found.stderr


def test_what_needs_no_keras_leaves_a_projects_own_as_it_is(elsewhere):
    code = "import os, tfkd; tfkd.LiteRTModel; tfkd.predict; print(os.environ['KERAS_BACKEND'])"
    found = ended(code, {**elsewhere, "KERAS_BACKEND": "torch"})
    assert found.stdout == "torch\n", found.stderr


def test_types_of_the_users_keras_json_are_refused_where_tfkd_makes_the_models(elsewhere):
    found = ended("import tfkd; tfkd.TextClassifier", elsewhere)
    assert found.returncode == 1
    assert found.stderr.endswith(message("dtype policy", "float32", "float16") + "\n")


def test_settling_it_prints_nothing_and_leaves_the_user_keras_own_folder(tmp_path):
    """Keras keeps there what it downloads."""
    code = (
        "import tfkd; tfkd.TextClassifier; from keras.src.backend.config import keras_home;"
        "print(keras_home())"
    )
    found = ended(code, {**os.environ, "KERAS_HOME": str(tmp_path)})
    assert (found.returncode, found.stdout, found.stderr) == (0, f"{tmp_path}\n", "")


def test_a_command_has_keras_defaults(elsewhere):
    code = f"from tfkd.keras_environment import settle_command; settle_command(); {SHOW}"
    found = ended(code, {**elsewhere, "KERAS_BACKEND": "torch"})
    assert found.stdout == "tensorflow float32 channels_last 1e-07 None\n", found.stderr


def test_command_settles_it_for_itself_and_its_children(elsewhere):
    code = (
        "import os, sys; sys.argv = ['tfkd', 'list', 'recipes']\n"
        "try:\n    from tfkd.cli import main; main()\nexcept SystemExit:\n"
        "    print(os.environ['KERAS_BACKEND'], 'KERAS_MAX_EPOCHS' in os.environ)"
    )
    found = ended(code, {**elsewhere, "KERAS_BACKEND": "torch"})
    assert found.stdout.endswith("\ntensorflow False\n"), found.stderr


def test_what_has_no_keras_leaves_it_to_its_project(elsewhere):
    code = (
        "import os, tfkd; tfkd.Prediction, tfkd.DistillConfig, tfkd.LiteRTModel, tfkd.serve;"
        "print(os.environ['KERAS_BACKEND'], 'tfkd' in os.environ['KERAS_HOME'])"
    )
    found = ended(code, {**elsewhere, "KERAS_BACKEND": "torch"})
    assert found.stdout == "torch False\n", found.stderr


def test_another_backend_in_this_process_is_refused(monkeypatch):
    settle_keras()
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    for name in ("Distiller", "TextClassifier", "distill"):
        with pytest.raises(ConfigError, match=exactly(message("backend", "tensorflow", "jax"))):
            settle_for(name)
    for name in ("DistillConfig", "LiteRTModel", "serve"):
        settle_for(name)


def test_a_file_whose_tokenizer_needs_keras_settles_it(monkeypatch, tmp_path):
    byte_pair_tokenizer().save(tmp_path / "byte_pairs")
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(ConfigError, match=exactly(message("backend", "tensorflow", "jax"))):
        _read_tokenizer(tmp_path / "byte_pairs")


def test_other_types_and_formats_are_refused_where_tfkd_makes_the_models():
    policy, order = keras.config.dtype_policy(), keras.config.image_data_format()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        # The models are the caller's.
        settle_for("Distiller")
        expected = message("dtype policy", "float32", "mixed_bfloat16")
        with pytest.raises(ConfigError, match=exactly(expected)):
            settle_for("distill")
        keras.config.set_dtype_policy(policy)
        keras.config.set_image_data_format("channels_first")
        expected = message("image data format", "channels_last", "channels_first")
        with pytest.raises(ConfigError, match=exactly(expected)):
            settle_for("TextClassifier")
    finally:
        keras.config.set_dtype_policy(policy)
        keras.config.set_image_data_format(order)
    settle_for("distill")
