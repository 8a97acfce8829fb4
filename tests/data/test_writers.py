"""A user's table read in chunks and written again: nothing of it is lost, whatever the format."""

import gzip
import json
import zoneinfo
from datetime import datetime, timedelta

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.messages import exactly
from tfkd.data.parquet import arrow_values
from tfkd.data.tables import ABSENT, CHUNK_ROWS, UserTable, plain, raw
from tfkd.data.writers import LIST_OF, table_writer
from tfkd.errors import DatasetError

CSV = 'id,body,note\r\n01,"Rain, and\r\nmore",\r\n02,"a ""quote""", \r\n03,Über,=1+1\r\n'
ROWS = [("01", "Rain, and\r\nmore", ""), ("02", 'a "quote"', " "), ("03", "Über", "=1+1")]


def copied(source, target, added=None, values=()):
    """Writes a file's columns, and others behind them, as another file."""
    table = UserTable.of(source)
    with table_writer(target, table, added or {}) as write:
        for columns in table.chunks():
            write([*columns, *values])
    return target


def rows_of(path):
    chunks = UserTable.of(path).chunks()
    return [row for columns in chunks for row in zip(*map(plain, columns), strict=True)]


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_strings_come_back_from_every_format(tmp_path, kind, ending):
    source = tmp_path / "a.csv"
    source.write_bytes(CSV.encode())
    target = copied(source, tmp_path / f"b.{kind}{ending}")
    assert UserTable.of(target).names == ("id", "body", "note")
    assert rows_of(target) == ROWS
    assert (target.read_bytes()[:2] == b"\x1f\x8b") == (ending == ".gz")


@given(
    rows=st.lists(
        st.tuples(*[st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)] * 2)
        | st.tuples(*[st.text('",;\t \n|a', max_size=6)] * 2),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=30)
def test_any_strings_come_back_from_csv_and_json_lines(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("rows")
    source = folder / "a.jsonl"
    source.write_text("".join(json.dumps({"x": x, "y": y}) + "\n" for x, y in rows))
    for name in ("b.csv", "b.jsonl"):
        assert rows_of(copied(source, folder / name)) == rows


def test_csv_keeps_the_separator_of_its_csv(tmp_path):
    source = tmp_path / "a.csv"
    source.write_text("id;body\n1;half, half\n")
    assert copied(source, tmp_path / "b.csv").read_text() == "id;body\n1;half, half\n"
    assert copied(source, tmp_path / "b.tsv").read_text() == "id\tbody\n1\thalf, half\n"
    back = copied(tmp_path / "b.tsv", tmp_path / "c.csv")
    assert back.read_text() == 'id,body\n1,"half, half"\n'


def test_broken_bytes_of_another_column_stay_those_bytes(tmp_path):
    source = tmp_path / "a.csv"
    source.write_bytes(b"body,note\nrain,caf\xe9\n")
    assert copied(source, tmp_path / "b.csv").read_bytes() == source.read_bytes()
    target = tmp_path / "b.jsonl"
    message = (
        f"Expected Unicode for {target}. Received: half a character in "
        '\'"rain", "note": "caf\\udce9\'. Save the input as UTF-8.'
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        copied(source, target)
    assert not target.exists()


def test_json_lines_keep_types_and_the_fields_that_a_row_has(tmp_path):
    lines = '{"id": 7, "tags": ["a"], "ok": true}\n{"id": null, "late": 0.5}\n{}\n'
    source = tmp_path / "a.jsonl"
    source.write_text(lines)
    table = UserTable.of(source)
    assert table.names == ("id", "tags", "ok", "late")
    assert [raw(column)[2] for column in next(table.chunks())] == [ABSENT] * 4
    assert copied(source, tmp_path / "b.jsonl").read_text() == lines
    csv = copied(source, tmp_path / "b.csv").read_text()
    assert csv == 'id,tags,ok,late\n7,"[""a""]",true,\n,,,0.5\n,,,\n'


def test_json_lines_get_the_types_of_all_their_rows_in_parquet(tmp_path):
    source = tmp_path / "a.jsonl"
    rows = [{"n": row, "s": "x"} for row in range(CHUNK_ROWS)]
    rows += [{"n": 0.5, "s": 3, "late": [1]}, {"n": None, "s": True}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = pyarrow.parquet.read_table(copied(source, tmp_path / "b.parquet"))
    assert [str(kind) for kind in found.schema.types] == [
        "double",
        "string",
        "list<element: int64>",
    ]
    assert found.to_pylist()[-3:] == [
        {"n": CHUNK_ROWS - 1, "s": "x", "late": None},
        {"n": 0.5, "s": "3", "late": [1]},
        {"n": None, "s": "true", "late": None},
    ]


def test_parquet_keeps_its_schema(tmp_path):
    nanosecond = pyarrow.array([1, None, 3], pyarrow.timestamp("ns"))
    table = pyarrow.table(
        {
            "at": nanosecond,
            "kind": pyarrow.array(["a", "b", "a"]).dictionary_encode(),
            "n": pyarrow.array([1, 2, 3], pyarrow.int8()),
        }
    ).replace_schema_metadata({"made by": "hand"})
    source = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(table, source)
    added = {"label": "string", "labels": f"{LIST_OF}string", "score": "double"}
    values = [["x", None, "y"], [["a"], None, []], [1, None, 0.5]]
    target = copied(source, tmp_path / "b.parquet", added, values)
    found = pyarrow.parquet.read_table(target)
    assert found.select(["at", "kind", "n"]).equals(table)
    assert found.schema.metadata == {b"made by": b"hand"}
    assert [found[name].to_pylist() for name in added] == values
    assert [str(found.schema.field(name).type) for name in added] == [
        "string",
        "list<element: string>",
        "double",
    ]
    # Python has no nanoseconds.
    assert rows_of(source)[0][0] == "1970-01-01 00:00:00.000000001"


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_times_are_pythons_own_whatever_else_is_installed(zone):
    column = pyarrow.array([1_000_000_000, None], pyarrow.timestamp("ns", zone))
    found = arrow_values(column)
    tzinfo = zoneinfo.ZoneInfo(zone) if zone else None
    assert found == [datetime(1970, 1, 1, 0, 0, 1, tzinfo=tzinfo), None]
    assert type(found[0]) is datetime
    (length,) = arrow_values(pyarrow.array([1_000], pyarrow.duration("ns")))
    assert type(length) is timedelta and length == timedelta(microseconds=1)


def test_values_of_parquet_as_text(tmp_path):
    source = tmp_path / "a.parquet"
    day = datetime(2024, 2, 29, 12)
    pyarrow.parquet.write_table(pyarrow.table({"day": [day], "ok": [True], "n": [None]}), source)
    assert copied(source, tmp_path / "b.csv").read_text() == (
        "day,ok,n\n2024-02-29 12:00:00,true,\n"
    )
    assert json.loads(copied(source, tmp_path / "b.jsonl").read_text()) == {
        "day": "2024-02-29 12:00:00",
        "ok": True,
        "n": None,
    }


def test_columns_of_one_name_are_no_fields(tmp_path):
    source = tmp_path / "a.csv"
    source.write_text("body,note,note\nrain,1,2\n")
    assert copied(source, tmp_path / "b.csv").read_bytes() == source.read_bytes()
    message = (
        f"Expected columns of different names in {source} for JSONL. Received: `note` twice. "
        "Rename one."
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        copied(source, tmp_path / "b.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv"]


def test_long_rows_make_short_chunks(tmp_path):
    source = tmp_path / "a.csv"
    source.write_text("body\n" + ("x" * 9_000_000 + "\n") * 3 + "y\n")
    assert [len(column) for (column,) in UserTable.of(source).chunks()] == [2, 2]
    source.write_text("body\n" + "y\n" * (CHUNK_ROWS + 1))
    assert [len(column) for (column,) in UserTable.of(source).chunks()] == [CHUNK_ROWS, 1]


def test_the_same_rows_are_the_same_packed_bytes(tmp_path):
    source = tmp_path / "a.csv"
    source.write_text("body\nrain\n")
    first = copied(source, tmp_path / "b.csv.gz").read_bytes()
    assert copied(source, tmp_path / "c.csv.gz").read_bytes() == first
    assert gzip.decompress(first) == b"body\nrain\n"


def test_what_fails_half_way_leaves_the_old_file(tmp_path):
    source, target = tmp_path / "a.csv", tmp_path / "b.csv"
    source.write_text("body\nrain\n" * (CHUNK_ROWS + 1) + "one,too many\n")
    target.write_text("old")
    with pytest.raises(DatasetError, match="Expected 1 fields as in the header"):
        copied(source, target)
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv"]
