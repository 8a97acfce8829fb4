"""What benchmarks/corpus.py says of two results, and its table."""

import pyarrow
import pyarrow.parquet

from benchmarks import corpus


def part(folder, name, rows):
    folder.mkdir(exist_ok=True)
    table = pyarrow.table({"id": list(rows), "label": list(rows.values())})
    pyarrow.parquet.write_table(table, folder / f"part-{name}.parquet")


def test_rows_are_compared_by_their_ids(tmp_path):
    part(tmp_path / "local", 0, {"a": "x", "b": "y", "c": "z"})
    for name, rows in (("0", {"a": "x", "b": "x"}), ("1", {"a": "x"})):
        part(tmp_path / "found", name, rows)
    found = corpus.compared(tmp_path / "found", tmp_path / "local")
    # The missing one differs as well.
    assert found == {"rows": 3, "missing": 1, "double": 1, "different": 2}
    assert corpus.compared(tmp_path / "local", tmp_path / "local") == {
        **{"rows": 3, "missing": 0},
        **{"double": 0, "different": 0},
    }


def test_table_has_a_line_for_each_command():
    row = {
        **{"rows_made": 50_000, "seconds": 10.0, "rows_a_second": 5000},
        "processor_seconds": 20.0,
    }
    found = {
        "loop_50000": {**row, "peak_mb": {"driver": 100}},
        "ray_200000_restarted": {**row, "peak_mb": {"driver": 200, "other": 50, "worker": 150}},
        "kills": {},
    }
    lines = corpus.markdown(found).splitlines()[2:]
    assert lines == [
        "| loop, 50,000 rows | 50,000 | 5,000 | 4.0 | 100 | - |",
        "| Ray, 200,000 rows, started again | 50,000 | 5,000 | 4.0 | 200 | 150 |",
    ]
