"""Rows are taken from their source once, in order, and come back as they were."""

import math
import re
import tempfile

import pytest

from tfkd.data.examples import Example
from tfkd.data.kept_rows import CHUNK_BYTES, CHUNK_ROWS, KeptExamples, KeptRows
from tfkd.errors import DatasetError


class Source:
    """Counts how often it is opened and how many rows it has given."""

    def __init__(self, rows, fault_at=None):
        self.rows, self.fault_at = rows, fault_at
        self.num_opened = self.num_given = 0

    def __call__(self):
        self.num_opened += 1
        for number, row in enumerate(self.rows):
            if number == self.fault_at:
                raise DatasetError(f"Expected a good row. Received: row {number}.")
            self.num_given += 1
            yield row


def numbered(count):
    return [[f"text {number}", number] for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, CHUNK_ROWS - 1, CHUNK_ROWS, 2 * CHUNK_ROWS + 1])
def test_every_pass_gives_all_rows_and_the_source_gives_each_once(count):
    source = Source(numbered(count))
    rows = KeptRows(source)
    assert source.num_opened == 0
    for _ in range(3):
        assert list(rows) == numbered(count)
    assert (source.num_opened, source.num_given) == (1, count)


def test_a_pass_that_stops_takes_no_more_than_a_chunk_beyond():
    source = Source(numbered(5 * CHUNK_ROWS))
    rows = KeptRows(source)
    assert next(iter(rows)) == ["text 0", 0]
    assert source.num_given == CHUNK_ROWS
    assert next(iter(rows)) == ["text 0", 0]
    assert source.num_given == CHUNK_ROWS
    assert len(list(rows)) == 5 * CHUNK_ROWS
    assert (source.num_opened, source.num_given) == (1, 5 * CHUNK_ROWS)


def test_long_rows_make_short_chunks():
    rows = [["x" * (CHUNK_BYTES // 2), number] for number in range(6)]
    source = Source(rows)
    kept = KeptRows(source)
    assert next(iter(kept)) == rows[0]
    assert source.num_given == 2
    assert list(kept) == list(kept) == rows


def test_passes_side_by_side_do_not_disturb_each_other():
    rows = KeptRows(Source(numbered(3 * CHUNK_ROWS)))
    slow, fast = iter(rows), iter(rows)
    assert [next(slow) for _ in range(3)] == numbered(3)
    assert list(fast) == numbered(3 * CHUNK_ROWS)
    assert [next(slow) for _ in range(2)] == numbered(5)[3:]
    assert len(list(slow)) == 3 * CHUNK_ROWS - 5


@pytest.mark.parametrize("fault_at", [0, 3, CHUNK_ROWS, CHUNK_ROWS + 3])
def test_a_fault_comes_in_every_pass_at_its_own_row(fault_at):
    source = Source(numbered(2 * CHUNK_ROWS), fault_at)
    rows = KeptRows(source)
    for _ in range(2):
        given = []
        with pytest.raises(
            DatasetError, match=rf"^Expected a good row. Received: row {fault_at}.$"
        ):
            for row in rows:
                given.append(row)
        assert given == numbered(fault_at)
    assert (source.num_opened, source.num_given) == (1, fault_at)


def test_values_come_back_as_they_were():
    row = ["käse \udcff\n\u2028", 1, -0.1, 1e300, True, None, ["a", [2]], "", 2**70]
    assert list(KeptRows(lambda: [row])) == [row]
    ((kept,),) = list(KeptRows(lambda: [[math.nan]]))
    assert math.isnan(kept)


def test_of_other_values_the_string_is_kept():
    assert list(KeptRows(lambda: [(b"ab", (1, 2))])) == [["b'ab'", [1, 2]]]


def test_a_full_disk_is_one_line(monkeypatch):
    monkeypatch.setattr(
        tempfile, "TemporaryFile", lambda buffering: open("/dev/full", "w+b", buffering)
    )
    message = (
        f"Expected room for the data's rows in {tempfile.gettempdir()}. Received: No space left on "
        "device. Free some, or set TMPDIR to another folder."
    )
    rows = KeptRows(Source(numbered(3)))
    for _ in range(2):
        with pytest.raises(DatasetError, match=f"^{re.escape(message)}$"):
            list(rows)


@pytest.mark.parametrize("label", [3, 0.25, (), (0, 4)])
def test_examples_come_back_as_they_were(label):
    examples = [Example(("one", "two"), label), Example(("three", "four"), label)]
    kept = KeptExamples.of(examples)
    for _ in range(2):
        assert list(kept) == examples
        assert {type(example) for example in kept} == {Example}
        assert {type(example.label) for example in kept} == {type(label)}
