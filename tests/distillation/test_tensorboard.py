"""The run's log as TensorBoard's own readers see it."""

import io
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from PIL import Image
from tensorboard.backend.event_processing import event_accumulator, plugin_event_accumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.util import tensor_util

from tests.messages import exactly
from tfkd.distillation.tensorboard import RunLog


def read(folder):
    """All events of a folder, as the TensorBoard program keeps them."""
    # The older `event_accumulator` never purges tensors, which all summaries of today are.
    reader = plugin_event_accumulator.EventAccumulator
    accumulator = reader(str(folder), size_guidance={"tensors": 0}, purge_orphaned_data=True)
    return accumulator.Reload()


def curve(folder, tag):
    """Steps and values of one scalar."""
    return [
        (event.step, float(tensor_util.make_ndarray(event.tensor_proto)))
        for event in read(folder).Tensors(tag)
    ]


def strings(folder, tag):
    """The strings of a tag's only event."""
    [event] = read(folder).Tensors(tag)
    return list(tensor_util.make_ndarray(event.tensor_proto).ravel())


def image(folder, tag):
    """The pixels of an image, uint8 [height, width, 3], after checking the stated size."""
    width, height, png = strings(folder, tag)
    picture = Image.open(io.BytesIO(png))
    assert picture.format == "PNG"
    assert picture.size == (int(width), int(height))
    return np.asarray(picture.convert("RGB"))


def hparams_content(folder, tag):
    """The plugin data of one HParams tag."""
    content = read(folder).SummaryMetadata(tag).plugin_data.content
    return hparams_metadata.parse_session_start_info_plugin_data(content)


def test_scalars_come_back(tmp_path):
    with RunLog(tmp_path, finished_steps=0) as log:
        log.scalars(20, {"train/loss": 1.5, "train/learning_rate": 0.25})
        log.scalars(40, {"train/loss": 0.5, "train/learning_rate": 0.125})
    assert sorted(read(tmp_path).Tags()["tensors"]) == ["train/learning_rate", "train/loss"]
    assert curve(tmp_path, "train/loss") == [(20, 1.5), (40, 0.5)]
    assert curve(tmp_path, "train/learning_rate") == [(20, 0.25), (40, 0.125)]
    metadata = read(tmp_path).SummaryMetadata("train/loss")
    assert metadata.plugin_data.plugin_name == "scalars"


def test_older_reader_understands_the_log(tmp_path):
    with RunLog(tmp_path, finished_steps=0) as log:
        log.scalars(20, {"train/loss": 1.5})
        log.text("config", "seed 0")
    reader = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    [event] = reader.Tensors("train/loss")
    assert (event.step, float(tensor_util.make_ndarray(event.tensor_proto))) == (20, 1.5)
    assert reader.Tags()["tensors"] == ["train/loss", "config"]


def test_scalar_may_be_numpy_or_not_a_number(tmp_path):
    with RunLog(tmp_path) as log:
        log.scalars(1, {"loss": np.float32(2.0)})
        log.scalars(2, {"loss": float("nan")})
    (_, first), (_, second) = curve(tmp_path, "loss")
    assert first == 2.0
    assert np.isnan(second)


def test_events_are_on_disk_before_the_call_returns(tmp_path):
    log = RunLog(tmp_path, finished_steps=0)
    log.scalars(1, {"loss": 3.0})
    assert curve(tmp_path, "loss") == [(1, 3.0)]
    log.close()


def test_killed_process_loses_nothing(tmp_path):
    program = (
        "import os, pathlib, signal, sys\n"
        "from tfkd.distillation.tensorboard import RunLog\n"
        "log = RunLog(pathlib.Path(sys.argv[1]), 0)\n"
        "[log.scalars(step, {'loss': step}) for step in range(1, 31)]\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True)
    assert done.returncode == -9
    with RunLog(tmp_path, finished_steps=20) as log:
        log.scalars(21, {"loss": -1.0})
    assert curve(tmp_path, "loss") == [(step, step) for step in range(1, 21)] + [(21, -1.0)]


def test_later_steps_of_an_earlier_session_are_superseded(tmp_path):
    with RunLog(tmp_path, finished_steps=0) as log:
        for step in range(1, 21):
            log.scalars(step, {"train/loss": step})
        log.scalars(20, {"validation/accuracy": 0.5})
    with RunLog(tmp_path, finished_steps=10) as log:
        assert curve(tmp_path, "train/loss") == [(step, step) for step in range(1, 11)]
        assert curve(tmp_path, "validation/accuracy") == []
        log.scalars(11, {"train/loss": 111.0})
        log.scalars(12, {"train/loss": 112.0})
    expected = [(step, step) for step in range(1, 11)] + [(11, 111.0), (12, 112.0)]
    assert curve(tmp_path, "train/loss") == expected


def test_each_resume_supersedes_the_one_before(tmp_path):
    for session, finished_steps in enumerate([0, 4, 2]):
        with RunLog(tmp_path, finished_steps) as log:
            for step in range(finished_steps + 1, 7):
                log.scalars(step, {"loss": session})
    assert curve(tmp_path, "loss") == [(1, 0), (2, 0), (3, 2), (4, 2), (5, 2), (6, 2)]


def test_start_at_zero_supersedes_everything(tmp_path):
    for value in (1.0, 2.0):
        with RunLog(tmp_path, finished_steps=0) as log:
            log.text("config", f"session {value}")
            log.scalars(5, {"loss": value})
    assert curve(tmp_path, "loss") == [(5, 2.0)]
    [event] = read(tmp_path).Tensors("config")
    assert tensor_util.make_ndarray(event.tensor_proto).ravel()[0] == b"session 2.0"


def test_resume_works_in_a_log_that_was_only_added_to(tmp_path):
    with RunLog(tmp_path) as log:
        log.scalars(5, {"loss": 5.0})
    with RunLog(tmp_path, finished_steps=4) as log:
        log.scalars(6, {"loss": 6.0})
    assert curve(tmp_path, "loss") == [(6, 6.0)]


def test_adding_to_a_finished_log_supersedes_nothing(tmp_path):
    with RunLog(tmp_path, finished_steps=0) as log:
        log.scalars(5, {"loss": 5.0})
    with RunLog(tmp_path) as log:
        log.scalars(0, {"test/accuracy": 0.75})
    assert curve(tmp_path, "loss") == [(5, 5.0)]
    assert curve(tmp_path, "test/accuracy") == [(0, 0.75)]


def test_record_cut_short_by_a_kill_does_not_hide_the_next_session(tmp_path):
    with RunLog(tmp_path, finished_steps=0) as log:
        log.scalars(1, {"loss": 1.0})
        log.scalars(2, {"loss": 2.0})
    [file] = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-9])
    assert curve(tmp_path, "loss") == [(1, 1.0)]
    with RunLog(tmp_path, finished_steps=1) as log:
        log.scalars(2, {"loss": 20.0})
    assert curve(tmp_path, "loss") == [(1, 1.0), (2, 20.0)]


def test_sessions_stay_in_order_when_the_clock_is_set_back(tmp_path):
    with RunLog(tmp_path, finished_steps=0) as log:
        log.scalars(2, {"loss": 2.0})
    [file] = tmp_path.iterdir()
    file.rename(file.with_suffix(".4000000000"))
    with RunLog(tmp_path, finished_steps=1) as log:
        log.scalars(2, {"loss": 20.0})
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".4000000000", ".4000000001"]
    assert curve(tmp_path, "loss") == [(2, 20.0)]


def test_negative_steps_are_refused(tmp_path):
    message = "Expected `finished_steps` to be 0 or more. Received: -1."
    with pytest.raises(ValueError, match=exactly(message)):
        RunLog(tmp_path, finished_steps=-1)


def test_closed_log_refuses_to_write(tmp_path):
    log = RunLog(tmp_path)
    log.close()
    log.close()
    message = f"Expected an open log. Received: {tmp_path}, which was closed."
    with pytest.raises(ValueError, match=exactly(message)):
        log.scalars(1, {"loss": 1.0})


def test_log_is_closed_when_the_block_fails(tmp_path):
    with pytest.raises(KeyError, match="boom"), RunLog(tmp_path) as log:
        raise KeyError("boom")
    with pytest.raises(ValueError, match="which was closed"):
        log.text("config", "late")


def test_text_comes_back(tmp_path):
    with RunLog(tmp_path) as log:
        log.text("config", "| seed | 0 |", step=3)
    assert strings(tmp_path, "config") == [b"| seed | 0 |"]
    assert read(tmp_path).Tensors("config")[0].step == 3
    assert read(tmp_path).SummaryMetadata("config").plugin_data.plugin_name == "text"


# Width is margin + cells + 0.2 inches at 100 pixels: cells of 0.6 inches up to 12 classes and 0.2
# beyond, and a margin of 0.7 + 0.08 a letter of the longest label (4 where there are none).
@pytest.mark.parametrize(
    ("num_classes", "label", "pixels"),
    [
        (2, "neg", 70 + 24 + 240 + 20),
        (4, "politics", 70 + 64 + 240 + 20),
        (12, "topic", 70 + 40 + 720 + 20),
        (60, "alarm_remove_of_a_very_long_name", 70 + 192 + 1200 + 20),
        (64, "intent", 70 + 48 + 1280 + 20),
        (100, "no_label_is_shown", 70 + 32 + 2000 + 20),
    ],
)
def test_confusion_matrix_is_an_image_that_grows_with_the_classes(
    tmp_path, num_classes, label, pixels
):
    names = [label] * num_classes
    with RunLog(tmp_path) as log:
        log.confusion_matrix("student/confusion", np.eye(num_classes, dtype=int) * 9, names)
    assert image(tmp_path, "student/confusion").shape == (pixels, pixels, 3)
    metadata = read(tmp_path).SummaryMetadata("student/confusion")
    assert metadata.plugin_data.plugin_name == "images"


def test_confusion_matrix_has_true_classes_down_and_shares_as_shades(tmp_path):
    names = [f"intent_{index}" for index in range(20)]
    matrix = np.zeros((20, 20), dtype=int)
    matrix[np.arange(20), np.arange(20)] = 30
    matrix[2, 17] = 10  # a quarter of class 2
    matrix[5] = 0  # a class without examples
    with RunLog(tmp_path) as log:
        log.confusion_matrix("confusion", matrix, names)
    pixels = image(tmp_path, "confusion").astype(int)
    height = pixels.shape[0]
    left, top = 70 + 8 * 9, height - (70 + 8 * 9) - 20 * 20

    def shade(row, column):
        return tuple(pixels[top + row * 20 + 10, left + column * 20 + 10])

    white, quarter, full = shade(0, 1), shade(2, 17), shade(0, 0)
    assert min(white) > 240
    assert sum(white) > sum(quarter) > sum(full)
    assert shade(2, 2) != full
    assert shade(17, 2) == shade(5, 5) == white
    assert shade(19, 19) == full


def test_labels_are_drawn_for_60_classes_and_left_out_for_65(tmp_path):
    with RunLog(tmp_path) as log:
        for count in (60, 65):
            for label in ("a", "b"):
                matrix = np.eye(count, dtype=int)
                log.confusion_matrix(f"{label}{count}", matrix, [label] * count)
    assert not np.array_equal(image(tmp_path, "a60"), image(tmp_path, "b60"))
    np.testing.assert_array_equal(image(tmp_path, "a65"), image(tmp_path, "b65"))


def test_label_with_dollar_signs_is_not_mathematics(tmp_path):
    with RunLog(tmp_path) as log:
        log.confusion_matrix("confusion", np.eye(2, dtype=int), ["$\\broken{$", "a $ b"])
    assert image(tmp_path, "confusion").shape[2] == 3


def test_confusion_matrix_of_another_shape_is_refused(tmp_path):
    message = "Expected a matrix of shape (3, 3) for 3 label names. Received: (2, 2)."
    with RunLog(tmp_path) as log, pytest.raises(ValueError, match=exactly(message)):
        log.confusion_matrix("confusion", np.eye(2, dtype=int), ["a", "b", "c"])


def test_drawing_leaves_pyplot_alone(tmp_path):
    before = (pyplot.get_fignums(), matplotlib.get_backend())
    with RunLog(tmp_path) as log:
        log.confusion_matrix("confusion", [[1, 0], [0, 1]], ["a", "b"])
    assert (pyplot.get_fignums(), matplotlib.get_backend()) == before


def test_hparams_hold_settings_and_final_metrics(tmp_path):
    folder = tmp_path / "ag_news" / "logs" / "student"
    settings = {
        "epochs": 3,
        "temperature": 2.0,
        "control": True,
        "dataset": "demo",
        "teacher": None,
        "recipes": ("float32", "dynamic_int8"),
    }
    with RunLog(folder) as log:
        log.hparams(settings, {"test/accuracy": 0.75, "test/macro_f1": 0.5})
    start = hparams_content(folder, hparams_metadata.SESSION_START_INFO_TAG)
    assert {name: value.number_value for name, value in start.hparams.items()} == {
        "epochs": 3.0,
        "temperature": 2.0,
        "control": 0.0,
        "dataset": 0.0,
        "teacher": 0.0,
        "recipes": 0.0,
    }
    assert start.hparams["control"].bool_value is True
    assert start.hparams["dataset"].string_value == "demo"
    assert start.hparams["teacher"].string_value == ""
    assert start.hparams["recipes"].string_value == "float32, dynamic_int8"
    assert start.group_name == "ag_news/logs/student"
    assert curve(folder, "test/accuracy") == [(0, 0.75)]
    assert curve(folder, "test/macro_f1") == [(0, 0.5)]


def test_hparams_table_has_only_the_final_metrics_as_columns(tmp_path):
    with RunLog(tmp_path) as log:
        log.scalars(20, {"train/loss": 1.0})
        log.hparams({"epochs": 3, "dataset": "demo"}, {"test/accuracy": 0.75})
    content = read(tmp_path).SummaryMetadata(hparams_metadata.EXPERIMENT_TAG).plugin_data.content
    experiment = hparams_metadata.parse_experiment_plugin_data(content)
    assert [metric.name.tag for metric in experiment.metric_infos] == ["test/accuracy"]
    assert [info.name for info in experiment.hparam_infos] == ["dataset", "epochs"]
    end = read(tmp_path).SummaryMetadata(hparams_metadata.SESSION_END_INFO_TAG)
    status = hparams_metadata.parse_session_end_info_plugin_data(end.plugin_data.content).status
    assert status == 1, "STATUS_SUCCESS"


def test_layout_puts_the_arms_of_a_tag_into_one_chart(tmp_path):
    with RunLog(tmp_path) as log:
        log.layout({"Training": {"loss": "train/loss"}, "Goal": {"accuracy": "validation/acc.*"}})
    events = read(tmp_path)
    (event,) = events.Tensors("custom_scalars__config__")
    found = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    assert [
        (category.title, [(chart.title, list(chart.multiline.tag)) for chart in category.chart])
        for category in found.category
    ] == [("Training", [("loss", ["train/loss"])]), ("Goal", [("accuracy", ["validation/acc.*"])])]
