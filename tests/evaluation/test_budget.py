"""The frontier by a brute-force definition, and the choice with its words."""

import hypothesis
import hypothesis.strategies as st
import pytest

from tfkd.evaluation.budget import Budget, Candidate, choose, frontier, slower_than_float

FLOAT = Candidate("float32", 17_400_000, 0.40, 0.0)
DYNAMIC = Candidate("dynamic_int8", 4_450_000, 0.20, 0.001)
TABLES = Candidate("int4_tables", 2_800_000, 0.21, 0.002)
STATIC = Candidate("static_int8", 4_460_000, 0.55, 0.004)
ALL = [FLOAT, DYNAMIC, TABLES, STATIC]


def test_frontier_leaves_out_what_another_beats():
    assert frontier(ALL) == [TABLES, DYNAMIC, FLOAT]


def test_equal_candidates_are_both_kept():
    twin = Candidate("twin", DYNAMIC.size_bytes, DYNAMIC.p50_ms, DYNAMIC.drop)
    assert frontier([DYNAMIC, twin]) == [DYNAMIC, twin]


@hypothesis.given(
    st.lists(
        st.builds(
            Candidate,
            st.just("x"),
            st.integers(1, 4),
            st.sampled_from([0.1, 0.2, 0.3]),
            st.sampled_from([-0.01, 0.0, 0.01]),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_everything_outside_the_frontier_is_beaten_by_one_inside(candidates):
    kept = frontier(candidates)
    assert kept
    for one in candidates:
        assert (one in kept) != any(one.is_beaten_by(other) for other in kept)


def test_smallest_file_within_the_budget_is_chosen():
    assert choose(ALL, Budget(max_mb=5, max_ms=1, max_drop=0.5)) == (
        TABLES,
        [
            "Take int4_tables: 2.80 MB, 0.21 ms, 0.20 points lost on held-out rows. 2 of 4 recipes "
            "are within the budget and beaten by none."
        ],
    )
    assert choose(ALL, Budget(max_drop=0.1))[0] == DYNAMIC
    assert choose(ALL, Budget(max_ms=0.2))[0] == DYNAMIC


def test_nothing_fits_is_said_with_the_excess_of_each():
    chosen, sentences = choose(ALL, Budget(max_mb=3, max_drop=0.1))
    assert chosen is None
    assert sentences == [
        "Nothing is within the budget: int4_tables (0.20 points lost of 0.1); dynamic_int8 (4.45 "
        "MB of 3); float32 (17.40 MB of 3). Allow more, or distil a smaller student."
    ]


@pytest.mark.parametrize(
    "limits, given", [({}, False), ({"max_mb": 3.0}, True), ({"max_drop": 0.0}, True)]
)
def test_any_limit_makes_a_budget(limits, given):
    assert Budget(**limits).is_given is given


def test_a_quantized_file_slower_than_float_is_named():
    assert slower_than_float(ALL) == ["static_int8 is slower here than float32: 1.38 of its time."]
    assert slower_than_float([DYNAMIC, STATIC]) == []
