import numpy as np
import pytest

from tfkd.compression.calibration import Calibration

ARRAYS = {
    "token_ids": np.array([[2, 7, 8, 3], [2, 9, 3, 0]], np.int32),
    "padding_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]], np.int32),
}


def test_rows_are_cut_and_padded_to_a_signature():
    calibration = Calibration(ARRAYS, seed=5)
    short, long = list(calibration.rows(3)), list(calibration.rows(6))
    assert [inputs["token_ids"].tolist() for inputs in short] == [[[2, 7, 8]], [[2, 9, 3]]]
    assert [inputs["padding_mask"].tolist() for inputs in long] == [
        [[1, 1, 1, 1, 0, 0]],
        [[1, 1, 1, 0, 0, 0]],
    ]
    assert {values.dtype for inputs in long for values in inputs.values()} == {np.dtype("int32")}


def test_what_is_recorded():
    assert Calibration(ARRAYS, 5).to_dict() == {"split": "train", "num_texts": 2, "seed": 5}


def test_only_the_arrays_a_model_takes():
    assert list(Calibration(ARRAYS, 5).of_inputs(["padding_mask"]).arrays) == ["padding_mask"]


def test_it_goes_to_another_process_and_comes_back(tmp_path):
    Calibration(ARRAYS, 5).save(tmp_path / "calibration.npz")
    again = Calibration.load(tmp_path / "calibration.npz")
    assert again.seed == 5 and list(again.arrays) == list(ARRAYS)
    for name, values in ARRAYS.items():
        np.testing.assert_array_equal(again.arrays[name], values)


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"token_ids": np.zeros((0, 4))},
        {"token_ids": np.zeros(4)},
        {"token_ids": np.zeros((1, 4)), "padding_mask": np.zeros((1, 5))},
    ],
)
def test_arrays_that_are_no_rows_are_refused(arrays):
    with pytest.raises(ValueError, match=r"^Expected arrays of one shape \[num_texts, width\], n"):
        Calibration(arrays, 0)
