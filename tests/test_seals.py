"""Seals: what was written comes back, and no other content passes for it."""

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.messages import exactly
from tfkd import seals
from tfkd.artifacts import sealed_file, write_json, write_record
from tfkd.errors import ArtifactError
from tfkd.seals import check_files, file_sha256, kept, read_json, read_record, sealed

# Of "abc", from the standard.
SHA256_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
REMEDY = "Put it back as it was, or make the run again with --overwrite."
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
RECORDS = st.dictionaries(st.text(max_size=3).filter(lambda name: name != seals.SEAL), VALUES)


def refusal(path, received, remedy=REMEDY):
    return exactly(f"Expected {path} as tfkd wrote it. Received: {received}. {remedy}")


def test_hash_is_sha256(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert file_sha256(path) == SHA256_ABC


@pytest.mark.parametrize("age_seconds", [0, 60], ids=["young", "old"])
def test_hash_is_of_the_content_that_is_there_now(age_seconds, tmp_path):
    """Old files are read once; a file of the same size that took their place is another."""
    path = tmp_path / "abc"
    for content in (b"abd", b"abc"):
        path.write_bytes(content)
        made = path.stat().st_mtime - age_seconds - content[-1]
        os.utime(path, (made, made))
        found = [file_sha256(path) for _ in range(2)]
    assert found == [SHA256_ABC, SHA256_ABC]


@given(RECORDS)
def test_what_is_sealed_comes_back(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "record.json"
    write_record(path, content)
    assert read_record(path) == read_json(path) == content


@given(RECORDS, RECORDS)
def test_no_other_content_passes(tmp_path_factory, content, other):
    path = tmp_path_factory.getbasetemp() / "record.json"
    seal = sealed(content, path.parent, [])[seals.SEAL]
    write_json(path, {**other, seals.SEAL: seal})
    if json.dumps(other) == json.dumps(content):
        assert read_record(path) == content
    else:
        with pytest.raises(ArtifactError, match=refusal(path, "another content")):
            read_record(path)


def test_blanks_and_line_ends_are_no_content(tmp_path):
    path = tmp_path / "record.json"
    write_record(path, {"names": ("a", "ä"), "share": 0.1, "by_length": {16: float("inf")}})
    path.write_bytes(json.dumps(json.loads(path.read_text("utf-8")), indent=7).encode("utf-16"))
    with pytest.raises(ArtifactError, match=f"^Expected JSON in {path}. Received: 'utf-8' codec"):
        read_record(path)
    write_record(path, {"names": ("a", "ä"), "share": 0.1, "by_length": {16: float("inf")}})
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_record(path) == {
        "names": ["a", "ä"],
        "share": 0.1,
        "by_length": {"16": float("inf")},
    }


def test_record_of_before_is_read_as_it_is(tmp_path):
    path = tmp_path / "record.json"
    write_json(path, {"rows": 3})
    assert read_record(path) == {"rows": 3}
    assert check_files(path) == frozenset()
    assert check_files(tmp_path / "none.json") == frozenset()


@pytest.mark.parametrize("seal", [None, [], {}, {"sha256": None, "files": []}, {"files": {}}, 3])
def test_seal_of_another_shape_is_none(seal, tmp_path):
    path = tmp_path / "record.json"
    write_json(path, {"rows": 3, seals.SEAL: seal})
    with pytest.raises(ArtifactError, match=refusal(path, "another content")):
        read_record(path)


def test_a_path_with_a_zero_character_is_one_line(tmp_path):
    with pytest.raises(ArtifactError, match="^Expected JSON in .*. Received: embedded null byte. "):
        read_record(tmp_path / "a\0b" / "classifier.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expected JSON in {path}. Received: an empty file. Do this."),
        (
            "[1, 2]",
            "Expected {path} as tfkd wrote it. Received: no JSON object but [1, 2]. Do this.",
        ),
        ("7" * 5000, "Expected JSON in {path}. Received: Exceeds the limit (4300 digits) for "),
        ("[" * 100_000, "Expected JSON in {path}. Received: maximum recursion depth exceeded"),
        ('{"a": {"a": ' * 50_000, "Expected JSON in {path}. Received: maximum recursion depth exc"),
        ("{", "Expected JSON in {path}. Received: Expecting property name enclosed in double "),
        (
            json.dumps(["x" * 500]),
            "Expected {path} as tfkd wrote it. Received: no JSON object but ['"
            + 75 * "x"
            + ".... Do this.",
        ),
    ],
    ids=["empty", "list", "huge", "deep", "deep objects", "cut", "long"],
)
def test_what_is_no_record_is_one_line(text, message, tmp_path):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(
        ArtifactError, match="^" + exactly(message.format(path=path))[1:-1]
    ) as caught:
        read_record(path, "Do this.")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert str(caught.value).endswith("Do this.")


def changed(path):
    path.write_bytes(b"other")


def emptied(path):
    path.write_bytes(b"")


def removed(path):
    path.unlink()


DAMAGES = [(changed, "another content"), (emptied, "an empty file"), (removed, "no such file")]


@pytest.mark.parametrize(("damage", "received"), DAMAGES)
def test_files_are_named(damage, received, tmp_path):
    (tmp_path / "inside").mkdir()
    names = ["a.bin", "inside/b.bin"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    record = tmp_path / "record.json"
    write_record(record, {}, names)
    assert check_files(record) == frozenset(names)
    damage(tmp_path / "inside" / "b.bin")
    with pytest.raises(
        ArtifactError, match=refusal(tmp_path / "inside" / "b.bin", received, "Do.")
    ):
        check_files(record, remedy="Do.")
    # Others are not asked for.
    assert check_files(record, "a.bin") == frozenset(names)


@pytest.mark.parametrize(("damage", "received"), DAMAGES)
def test_file_with_a_record_of_its_own(damage, received, tmp_path):
    path = tmp_path / "keys.npy"
    with sealed_file(path) as part:
        part.write_bytes(b"keys")
    assert path.read_bytes() == b"keys"
    assert check_files(path.with_suffix(".json")) == {"keys.npy"}
    damage(path)
    with pytest.raises(ArtifactError, match=refusal(path, received)):
        check_files(path.with_suffix(".json"))


def test_killed_while_it_is_written_the_file_of_before_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "keys.npy"
    with sealed_file(path) as part:
        part.write_bytes(b"keys")
    with pytest.raises(KeyboardInterrupt, match="now"), sealed_file(path) as part:
        part.write_bytes(b"half")
        raise KeyboardInterrupt("now")
    assert check_files(path.with_suffix(".json")) == {"keys.npy"}
    # Between the file and its record.
    monkeypatch.setattr("tfkd.artifacts.write_record", None)
    with pytest.raises(TypeError, match="not callable"), sealed_file(path) as part:
        part.write_bytes(b"other")
    assert [file.name for file in tmp_path.iterdir()] == ["keys.npy"]
    assert kept(path, lambda path: path.read_bytes(), pytest.fail) == b"other"


def test_what_is_damaged_is_told_and_not_taken(tmp_path):
    path, told = tmp_path / "keys.npy", []
    assert kept(path, np.load, told.append) is None
    with sealed_file(path) as part:
        np.save(part, np.arange(3))
    np.testing.assert_array_equal(kept(path, np.load, told.append), [0, 1, 2])
    assert told == []
    np.save(path, np.arange(3)[::-1])
    assert kept(path, np.load, told.append) is None
    # One from before there were seals that was cut short.
    path.with_suffix(".json").unlink()
    path.write_bytes(path.read_bytes()[:-1])
    assert kept(path, np.load, told.append) is None
    assert [line[: line.index("Received: ") + 20] for line in told] == [
        f"Expected {path} as tfkd wrote it. Received: another co",
        f"Expected {path} as tfkd wrote it. Received: a file tha",
    ]
    assert all(line.endswith(" It is made anew.") for line in told)
