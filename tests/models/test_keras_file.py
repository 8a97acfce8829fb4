"""model.keras: equal models are equal bytes, whenever and wherever they were saved."""

import time

import keras
import numpy as np

from tests.toys import spread_out, tiny_backbone
from tfkd.models.encoder import build_encoder_classifier
from tfkd.models.keras_file import read_model, write_model
from tfkd.models.without_encoder import build_cnn


def cnn(filters=6):
    keras.utils.set_random_seed(1)
    keras.backend.clear_session()
    return build_cnn(50, 3, width=8, filters=filters)


def encoder():
    keras.utils.set_random_seed(1)
    keras.backend.clear_session()
    return spread_out(build_encoder_classifier(tiny_backbone(60), 3))


def logits(model):
    inputs = {name: np.ones((2, 5), "int32") for name in model.input}
    return np.asarray(model(inputs))


def test_equal_models_are_equal_bytes(tmp_path):
    """Shared parts lie at other addresses, and the clock has moved on by the zip's two seconds."""
    for make in (cnn, encoder):
        kept = [make()]
        write_model(kept[0], tmp_path / "first.keras")
        time.sleep(2.1 if make is cnn else 0)
        kept.append(make())
        write_model(kept[1], tmp_path / "second.keras")
        first, second = ((tmp_path / f"{n}.keras").read_bytes() for n in ("first", "second"))
        assert first == second
        read = read_model(tmp_path / "second.keras")
        np.testing.assert_array_equal(logits(read), logits(kept[0]))
        assert [w.path for w in read.weights] == [w.path for w in kept[0].weights]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.keras", "second.keras"]


def test_other_models_are_other_bytes(tmp_path):
    model = cnn()
    write_model(model, tmp_path / "a.keras")
    model.weights[0].assign(model.weights[0] + 1e-6)
    write_model(model, tmp_path / "b.keras")
    write_model(cnn(7), tmp_path / "c.keras")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 3
