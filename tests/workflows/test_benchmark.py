"""What `tfkd benchmark` shows of the costs it measured."""

import importlib.util

from tests.toys import QUIET
from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.evaluation.latency import Latency
from tfkd.process import KIT_LOADER, TimedModel
from tfkd.runs.costs import Cost, onnx_files
from tfkd.workflows.benchmark import BenchmarkResult


def cost(file, p50_ms, agreement=None):
    times = Latency(p50_ms, 2 * p50_ms, 3 * p50_ms, p50_ms / 2, 1, 1, 1234.5, 20)
    return Cost(file, f"runs/{file}", 4_404_019, 70_600_000, times, agreement)


def test_table_has_a_line_a_file_with_its_ratio_to_the_first():
    table, note = BenchmarkResult(
        (cost("a/keras", 2.0), cost("a/int8", 0.5, 0.996)), 20, 1
    ).render()
    assert table.markdown() == (
        "| File | Size, MB | Memory, MB | p50, ms | p95 | p99 | without tokens, p50 | "
        "texts/s at 32 | Agreement | Time ratio |\n"
        "| :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| a/keras | 4.40 | 71 | 2.00 | 4.00 | 6.00 | 1.00 | 1234 | - | 1.000 |\n"
        "| a/int8 | 4.40 | 71 | 0.50 | 1.00 | 1.50 | 0.25 | 1234 | 0.9960 | 0.250 |"
    )
    assert note.startswith("Warm, interleaved, 20 real texts, 1 thread(s); ")


def test_files_for_onnx_runtime_are_asked_by_their_program(tmp_path, monkeypatch):
    run = RunFolder(tmp_path / "run")
    folder = run.model / "onnx-dynamic_int8"
    assert onnx_files(run, QUIET) == []
    artifacts.write_text(folder / "model.onnx", "its file")
    artifacts.write_record(run.model / "onnx-dynamic_int8.json", {"agreement": 0.996})
    (file,) = onnx_files(run, QUIET)
    assert (file.name, file.path) == ("run/model/onnx-dynamic_int8", folder / "model.onnx")
    assert file.agreement == 0.996
    assert file.timed(2) == TimedModel(KIT_LOADER, folder, {"threads": 2})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    said = []
    monkeypatch.setattr(QUIET, "say", said.append)
    assert onnx_files(run, QUIET) == []
    message = "left out: no onnxruntime; pip install 'tfkd[onnx]'"
    assert said == [f"ONNX files of {run.path} {message}"]
