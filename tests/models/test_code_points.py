"""The table beside what tf_text's operators say today, over all of Unicode."""

import json

import pytest

from tests.code_points import NUM_CODE_POINTS, compact, probe
from tfkd.models.code_points import PATH, code_points


@pytest.mark.parametrize("lowercase", [False, True])
def test_every_code_point_is_treated_as_by_the_operators(lowercase):
    outcomes = probe(lowercase)
    table = code_points(lowercase)
    differing = [hex(point) for point in range(NUM_CODE_POINTS) if table[point] != outcomes[point]]
    assert differing == []
    saved = json.loads(PATH.read_text(encoding="utf-8"))
    assert saved["uncased" if lowercase else "cased"] == compact(outcomes)


@pytest.mark.parametrize(
    ("character", "cased", "uncased"),
    [
        ("a", "a", "a"),
        ("É", "É", "e"),
        ("\u0301", "\u0301", ""),
        ("\n", " ", " "),
        ("\u200b", " ", ""),
        ("!", " ! ", " ! "),
        ("中", " 中 ", " 中 "),
        ("각", "각", "\u1100\u1161\u11a8"),
        ("ß", "ß", "ss"),
        ("…", " … ", " .  .  . "),
        ("ﬁ", "ﬁ", "fi"),
        ("\ufffd", "\ufffd", "\ufffd"),
        ("\ud800", "\ud800", "\ud800"),
    ],
)
def test_rules_written_out(character, cased, uncased):
    assert character.translate(code_points(False)) == cased
    assert character.translate(code_points(True)) == uncased


def test_nothing_but_the_blank_parts_words():
    """So that `str.split` parts words where the operators do."""
    for lowercase in (False, True):
        blanks = {
            character
            for character in map(chr, range(NUM_CODE_POINTS))
            for left in character.translate(code_points(lowercase))
            if left.isspace() and left != " "
        }
        assert blanks == set()
