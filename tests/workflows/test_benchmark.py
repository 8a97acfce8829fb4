"""What `tfkd benchmark` shows of the costs it measured."""

from tfkd.evaluation.latency import Latency
from tfkd.runs.costs import Cost
from tfkd.workflows.benchmark import BenchmarkResult


def cost(file, p50_ms):
    times = Latency(p50_ms, 2 * p50_ms, 3 * p50_ms, p50_ms / 2, 1, 1, 1234.5, 20)
    return Cost(file, f"runs/{file}", 4_404_019, 70_600_000, times)


def test_table_has_a_line_a_file_with_its_ratio_to_the_first():
    table, note = BenchmarkResult((cost("a/keras", 2.0), cost("a/int8", 0.5)), 20, 1).render()
    assert table.markdown() == (
        "| File | Size, MB | Memory, MB | p50, ms | p95 | p99 | without tokens, p50 | "
        "texts/s at 32 | Time ratio |\n"
        "| :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| a/keras | 4.40 | 71 | 2.00 | 4.00 | 6.00 | 1.00 | 1234 | 1.000 |\n"
        "| a/int8 | 4.40 | 71 | 0.50 | 1.00 | 1.50 | 0.25 | 1234 | 0.250 |"
    )
    assert note.startswith("Warm, interleaved, 20 real texts, 1 thread(s); ")
