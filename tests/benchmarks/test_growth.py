"""What benchmarks/growth.py writes and shows; its stages are run at full size by hand."""

import itertools
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import growth  # noqa: E402
from growth_stages import measure  # noqa: E402

from tfkd.artifacts import read_json, write_json  # noqa: E402
from tfkd.data.demo import demo_dataset  # noqa: E402
from tfkd.data.sources import load  # noqa: E402

STAGES = ["read and check", "teacher", "tokens", "scoring", "one epoch"]


def size(rows, seconds, peak_memory_bytes):
    stages = [
        {"stage": name, "seconds": value, "peak_memory_bytes": peak_memory_bytes}
        for name, value in seconds.items()
    ]
    return {"rows": rows, "stages": stages, "peak_memory_bytes": peak_memory_bytes}


RESULTS = {
    "sizes": [
        size(10_000, {"tokens": 2.0, "scoring": 4.0}, 1_000_000_000),
        size(100_000, {"tokens": 20.0, "scoring": 30.0}, 1_100_000_000),
    ],
    "processor": "a processor",
    "versions": {"keras": "3.15.1"},
}


def test_rows_are_those_of_the_demo(tmp_path):
    growth.write_rows(tmp_path, 30)
    found = list(load(str(tmp_path)).splits["train"]) + list(load(str(tmp_path)).splits["test"])
    expected = list(demo_dataset(num_train=30).splits["train"])
    assert set(found[:26]) <= set(expected)
    assert len(found) == 26 + growth.TEST_ROWS


def test_page_holds_seconds_time_a_row_and_the_ratio_of_memory():
    assert growth.markdown(RESULTS).splitlines() == [
        "| Stage | 10,000 rows, s | ms per 1,000 rows | 100,000 rows, s | ms per 1,000 rows |",
        "| :--- | ---: | ---: | ---: | ---: |",
        "| tokens | 2.0 | 200.0 | 20.0 | 200.0 |",
        "| scoring | 4.0 | 400.0 | 30.0 | 300.0 |",
        "| all | 6.0 | 600.0 | 50.0 | 500.0 |",
        "| peak memory, MB | 1000 | - | 1100 | - |",
        "",
        "1.10 times the peak memory of 10,000 rows with 100,000.",
        "",
        "Each size in a process of its own. a processor; keras 3.15.1.",
    ]


def test_sizes_of_the_output_are_not_measured_again(tmp_path):
    write_json(tmp_path / "growth.json", RESULTS)
    found = growth.compare([100_000, 10_000], tmp_path / "growth.json")
    assert found == read_json(tmp_path / "growth.json") == RESULTS


def test_stages_of_a_small_size(tmp_path):
    growth.write_rows(tmp_path, 200)
    found = measure(tmp_path, tmp_path / "run")
    assert [stage["stage"] for stage in found["stages"]] == STAGES
    assert found["train_rows"] == 170
    assert all(stage["seconds"] > 0 and stage["processor_seconds"] > 0 for stage in found["stages"])
    peaks = [stage["peak_memory_bytes"] for stage in found["stages"]]
    # Linux counts pages in batches: a peak may be told some pages lower than before.
    for before, after in itertools.pairwise([*peaks, found["peak_memory_bytes"]]):
        assert after > 0.99 * before > 0
