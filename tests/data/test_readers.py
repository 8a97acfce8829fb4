"""Files as they come: Excel's encodings, names that lie, stray quotes, optional fields, bombs."""

import bz2
import gzip
import json
import tracemalloc
import zipfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfkd.data import files, readers, streams
from tfkd.data.files import read_file
from tfkd.data.readers import open_table
from tfkd.errors import DatasetError

PLACE = "(row 1 is the first row of data)"
ROWS = [("Käse, bitte", "pos"), ('a "b" c', "neg"), ("二", "pos")]


def table(path: Path, content: str | bytes) -> list[tuple]:
    """Columns and rows of a file with this content."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with open_table(path) as found:
        return [found.columns, *(tuple(values) for values in found.rows)]


def refusal(path: Path, content: str | bytes) -> str:
    with pytest.raises(DatasetError, match="^Expected") as caught:
        table(path, content)
    return str(caught.value)


CSV = 'text,label\r\n"Käse, bitte",pos\r\n"a ""b"" c",neg\r\n二,pos\r\n'
TSV = 'text\tlabel\r\nKäse, bitte\tpos\r\n"a ""b"" c"\tneg\r\n二\tpos\r\n'
JSONL = "\n".join(json.dumps({"text": a, "label": b}, ensure_ascii=False) for a, b in ROWS)


@pytest.mark.parametrize(("name", "content"), [("csv", CSV), ("tsv", TSV), ("jsonl", JSONL)])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_a_file_in_any_encoding_of_excel(tmp_path, name, content, encoding):
    encoded = content.encode(encoding)
    expected = [("text", "label"), *ROWS]
    assert table(tmp_path / f"a.{name}", encoded) == expected
    # Packed, and packed under a plain name.
    assert table(tmp_path / f"b.{name}.gz", gzip.compress(encoded)) == expected
    assert table(tmp_path / f"c.{name}", gzip.compress(encoded)) == expected


def test_excel_writes_tabs_and_semicolons_under_csv(tmp_path):
    expected = [("text", "label"), *ROWS]
    assert table(tmp_path / "a.csv", TSV.encode("utf-16")) == expected
    content = 'text;label\nKäse, bitte;pos\n"a ""b"" c";neg\n二;pos\n'
    assert table(tmp_path / "b.csv", content) == expected


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "sep=;\r\ntext;label\r\nKäse, bitte;pos\r\n"),
        ("a.csv", '"sep=|"\ntext|label\nKäse, bitte|pos\n'),
        ("a.csv", "text|label\nKäse, bitte|pos\n"),
        ("a.tsv", 'text,label\n"Käse, bitte",pos\n'),
        ("A.CSV", 'text,label\n"Käse, bitte",pos\n'),
        ("a.csv", '\ufeff\ufefftext,label\n"Käse, bitte",pos\n'),
    ],
)
def test_the_separator_is_what_the_file_says(tmp_path, name, content):
    assert table(tmp_path / name, content) == [("text", "label"), ROWS[0]]


def test_a_utf_16_file_cut_in_a_character(tmp_path):
    path = tmp_path / "a.csv"
    assert refusal(path, "text,label\na,b\nc,d".encode("utf-16")[:-1]) == (
        f"Expected utf-16-le text in {path}. Received: truncated data, after row 1 {PLACE}. Save "
        "the file as UTF-8."
    )


def packed(tmp_path, kind: str) -> bytes:
    path = tmp_path / "packed"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("train.csv", CSV)
    elif kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.table({"text": ["a"], "label": ["b"]}), path)
    elif kind == "bzip2":
        path.write_bytes(bz2.compress(CSV.encode()))
    else:
        path.write_bytes(gzip.compress(gzip.compress(CSV.encode())))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("zip", "a ZIP archive, perhaps an Excel workbook"),
        ("parquet", "a Parquet file"),
        ("bzip2", "a bzip2 file"),
        ("gzip", "a gzip file inside a gzip file"),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_a_file_of_another_kind_is_named(tmp_path, kind, said, name):
    path = tmp_path / name
    assert refusal(path, packed(tmp_path, kind)) == (
        f"Expected text in {path}. Received: {said}. Save it as CSV in UTF-8, or name it after "
        "what it is."
    )


def test_parquet_packed_under_a_plain_name(tmp_path):
    content = gzip.compress(packed(tmp_path, "parquet"))
    assert table(tmp_path / "a.parquet", content) == [("text", "label"), ("a", "b")]


@pytest.mark.parametrize(
    "content",
    [
        'text, label\n"a, b", "pos"\nc, neg\n',
        '"text", "label"\n"a, b","pos"\n"c", neg\n',
        'text,label\n"a, b", "pos"\n"c", "neg"\n',
    ],
)
def test_blanks_behind_the_comma(tmp_path, content):
    expected = [("text", "label"), ("a, b", "pos"), ("c", "neg")]
    assert table(tmp_path / "a.csv", content) == expected


def test_blanks_that_begin_a_text_stay(tmp_path):
    content = 'text,label\n"a, ""b""",pos\n  c,neg\n"d, ",pos\n"e, ""f""",neg\n'
    assert table(tmp_path / "a.csv", content) == [
        ("text", "label"),
        ('a, "b"', "pos"),
        ("  c", "neg"),
        ("d, ", "pos"),
        ('e, "f"', "neg"),
    ]


def test_a_quote_alone_in_a_tsv_text_is_a_quote(tmp_path):
    content = 'text\tlabel\n"open here\tpos\nsize 10"\tneg\nplain\tpos\n"So," he said, "no"\tneg\n'
    assert table(tmp_path / "a.tsv", content) == [
        ("text", "label"),
        ('"open here', "pos"),
        ('size 10"', "neg"),
        ("plain", "pos"),
        ('"So," he said, "no"', "neg"),
    ]


def test_quotes_around_a_whole_tsv_field(tmp_path):
    content = '"text"\t"label"\n"a ""b"""\t"pos"\n"c\td"\tneg\n"e\nf\n\ng"\tpos\n\n"h\r\ni"\tneg\n'
    assert table(tmp_path / "a.tsv", content) == [
        ("text", "label"),
        ('a "b"', "pos"),
        ("c\td", "neg"),
        ("e\nf\n\ng", "pos"),
        ("h\r\ni", "neg"),
    ]


def test_a_tsv_quote_that_would_swallow_whole_rows(tmp_path):
    path = tmp_path / "a.tsv"
    assert refusal(path, 'text\tlabel\na\tpos\n"lost\nb\tneg\nc"\tpos\n') == (
        f"Expected 2 fields as in the header in {path}, row 2 {PLACE}. Received: a quote that is "
        "closed 2 lines below, behind whole rows. Remove the quote, or double it and put the text "
        "in quotes."
    )
    assert refusal(path, 'text\tlabel\na\tpos\n"lost\nb\tneg\n').startswith(
        f"Expected standard quoting in {path}, row 2 {PLACE}. Received: unexpected end of data."
    )


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\t"), min_size=1)


@settings(max_examples=60)
@given(rows=st.lists(TEXTS.filter(str.strip), min_size=1, max_size=8))
def test_a_tsv_without_quoting_keeps_its_rows(tmp_path_factory, rows):
    """Whatever quotes are in it, so long as none is quoted as a whole."""
    rows = [text for text in rows if not text.strip(" ").startswith('"')] or ["a"]
    path = tmp_path_factory.mktemp("tsv") / "a.tsv"
    content = "".join(f"{text}\t{number}\n" for number, text in enumerate(rows))
    found = table(path, f"text\tlabel\n{content}")
    assert found[1:] == [(text, str(number)) for number, text in enumerate(rows)]


def test_fields_of_jsonl_that_nobody_reads_may_be_left_out(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = ['{"text": "a", "label": "x", "note": 1}', '{"label": "y", "text": "b"}']
    path.write_text("\n".join([*lines, '{"text": "c", "label": "x", "by": {"name": ["z"]}}']))
    assert list(read_file(path, "a").splits["train"]) == [(("a",), 0), (("b",), 1), (("c",), 0)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'sentence1,sentence2,label\n"",b,0\na,,1\na,b,0\n'),
        ("a.tsv", "sentence1\tsentence2\tlabel\n\tb\t0\na\t\t1\na\tb\t0\n"),
        (
            "a.jsonl",
            '{"sentence1": null, "sentence2": "b", "label": 0}\n'
            '{"sentence1": "a", "sentence2": "", "label": 1}\n'
            '{"sentence1": "a", "sentence2": "b", "label": 0}\n',
        ),
    ],
)
def test_one_side_of_a_pair_may_be_empty(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    rows = list(read_file(path, "a").splits["train"])
    assert rows == [(("", "b"), 0), (("a", ""), 1), (("a", "b"), 0)]
    path.write_text(content.replace('"b"', '" "').replace("\tb\t", "\t \t").replace(",b,", ", ,"))
    with pytest.raises(DatasetError, match=r"^Expected a text in .*, row 1 .* Received: an empty"):
        list(read_file(path, "a").splits["train"])


def too_long(path: Path, row: int) -> str:
    return (
        f"Expected at most 10,000,000 characters in {path}, row {row} {PLACE}. Received: more. A "
        "line end or a closing quote may be missing; cut longer texts."
    )


@pytest.mark.parametrize(
    ("name", "start", "block"),
    [
        ("a.csv.gz", "text,label\na,b\n", "x"),
        ("a.csv.gz", 'text,label\na,b\n"', "x\n"),
        ("a.csv.gz", 'text,label\na,b\n"', 'x\n","'),
        ("a.tsv.gz", "text\tlabel\na\tb\n", "\t"),
        ("a.tsv.gz", 'text\tlabel\na\tb\n"', "x\n"),
        ("a.jsonl.gz", '{"text": "a", "label": "b"}\n{"text": "', "x"),
        ("a.jsonl.gz", '{"text": "a", "label": "b"}\n{"text": ', "["),
    ],
)
def test_a_row_has_a_limit(tmp_path, monkeypatch, name, start, block):
    monkeypatch.setattr(streams, "LARGEST_ROW_CHARACTERS", 100_000)
    monkeypatch.setattr(readers, "LARGEST_ROW_CHARACTERS", 100_000)
    path = tmp_path / name
    bomb = gzip.compress((start + block * (20_000_000 // len(block))).encode(), 1)
    tracemalloc.start()
    said = refusal(path, bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert said == too_long(path, 2).replace("10,000,000", "100,000")
    assert peak < 4_000_000


def test_a_row_of_the_limit_is_read(tmp_path):
    text = "word " * 1_000_000
    path = tmp_path / "a.csv"
    assert table(path, f"text,label\n{text},a\nshort,b\n")[1] == (text, "a")
    assert refusal(path, f"text,label\nshort,b\n{text * 2},a\n") == too_long(path, 2)


def test_gzip_around_parquet_has_a_limit(tmp_path):
    path = tmp_path / "a.parquet.gz"
    assert refusal(path, gzip.compress(b"PAR1" + bytes(70_000_000), 1)) == (
        f"Expected at most 67,108,864 bytes when {path} is unpacked. Received: more. Unpack it "
        "yourself if it is sound."
    )


def test_deep_json_huge_numbers_and_a_key_twice(tmp_path):
    path = tmp_path / "a.jsonl"
    first = '{"text": "a", "label": "b"}\n'
    for deep in ("[" * 100_000, '{"text": ' + "[" * 100_000):
        assert refusal(path, first + deep) == (
            f"Expected a JSON object in {path}, row 2 {PLACE}. Received: one of too many levels."
        )
    assert refusal(path, first + '{"text": "a", "label": ' + "9" * 5000 + "}").startswith(
        f"Expected a JSON object in {path}, row 2 {PLACE}. Received: a number of thousands"
    )
    for twice, key in (('"label": "c"', "'label'"), ('"note": {"a": 1, "b": 2, "a": 1}', "'a'")):
        assert refusal(path, first + '{"text": "a", "label": "b", ' + twice + "}") == (
            f"Expected each key of an object once in {path}, row 2 {PLACE}. Received: {key} 2 "
            "times."
        )
    for label in ("[" * 400 + "]" * 400, '{"a":' * 400 + "1" + "}" * 400):
        path.write_text(f'{first}{{"text": "a", "label": {label}}}\n')
        with pytest.raises(DatasetError, match=r"^Expected a (list of labels|label) in .*, row 2 "):
            read_file(path, "a")
    path.write_text(f'{first}{{"text": "a", "label": {"9" * 900}}}\n')
    assert read_file(path, "a").label_names == ("9" * 900, "b")


def test_parquet_with_broken_column_names(tmp_path):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(
        pyarrow.table({"text": ["a"], "label": ["b"]}), path, store_schema=False
    )
    broken = path.read_bytes().replace(b"text", b"t\xff\xfet").replace(b"label", b"\xc3\xc3bel")
    assert refusal(path, broken).startswith(f"Expected a Parquet file in {path}. Received: ")


def test_a_parquet_row_has_a_limit(tmp_path):
    path = tmp_path / "a.parquet"
    rows = pyarrow.table({"text": ["x" * 12_000_000, "y" * 12_000_000], "label": ["b", "c"]})
    pyarrow.parquet.write_table(rows, path, compression="zstd", use_dictionary=False)
    size = pyarrow.parquet.ParquetFile(path).metadata.row_group(0).total_byte_size // 2
    assert path.stat().st_size < 20_000
    assert refusal(path, path.read_bytes()) == (
        f"Expected rows of at most 10,000,000 bytes in {path}. Received: {size:,} bytes a row. Cut "
        "longer texts."
    )


@pytest.mark.parametrize("kind", [pyarrow.string(), pyarrow.large_string(), pyarrow.binary()])
def test_a_long_text_of_many_parquet_rows_is_held_once(tmp_path, kind):
    """As a dictionary of one text it is a small file; decoded it would be 4 GB."""
    path, number = tmp_path / "a.parquet", 1000
    texts = pyarrow.array(["x" * 4_000_000], kind)
    texts = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * number, "int32"), texts)
    pyarrow.parquet.write_table(pyarrow.table({"text": texts, "label": ["a"] * number}), path)
    before = pyarrow.total_allocated_bytes()
    with open_table(path) as found:
        for _ in range(40):
            text, label = next(found.rows)
            assert (len(text), label) == (4_000_000, "a")
        assert pyarrow.total_allocated_bytes() - before < 100_000_000


def test_a_long_text_of_a_parquet_dictionary(tmp_path):
    path = tmp_path / "a.parquet"
    texts = pyarrow.array(["short", "x" * 10_000_000])
    texts = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0, 1] * 20, "int32"), texts)
    pyarrow.parquet.write_table(pyarrow.table({"text": texts, "label": ["a", "b"] * 20}), path)
    with open_table(path) as found, pytest.raises(DatasetError, match="^Expected at") as caught:
        list(found.rows)
    assert str(caught.value) == (
        f"Expected at most 10,000,000 bytes in {path}, row 2 {PLACE}. Received: 10,000,001. Cut "
        "longer texts."
    )


def test_all_texts_of_a_packed_file_have_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LEAST_KEPT", 1000)
    path = tmp_path / "a.csv.gz"
    rows = "".join(f"{'x' * 9000},{'ab'[row % 2]}\n" for row in range(40))
    path.write_bytes(gzip.compress(f"text,label\n{rows}".encode(), 9))
    with pytest.raises(DatasetError, match="^Expected texts of at most 200 times the file's bytes"):
        read_file(path, "a")
