"""Choice among several files: those no other beats, and the smallest within a budget."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A file and what it costs.

    Attributes:
        name: The recipe.
        size_bytes: Bytes of the file.
        p50_ms: Median milliseconds of one text, tokenization included.
        drop: Loss of the headline metric against the float student on held-out rows, as a
            fraction; negative where it gains.
    """

    name: str
    size_bytes: int
    p50_ms: float
    drop: float

    @property
    def _costs(self) -> tuple[float, float, float]:
        return self.size_bytes, self.p50_ms, self.drop

    def is_beaten_by(self, other: "Candidate") -> bool:
        """Whether the other is nowhere worse and somewhere better."""
        pairs = list(zip(other._costs, self._costs, strict=True))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


@dataclasses.dataclass(frozen=True)
class Budget:
    """The largest file, longest time and largest loss allowed; None allows any.

    Attributes:
        max_mb: Megabytes of 10^6 bytes.
        max_ms: Milliseconds of one text, tokenization included.
        max_drop: Points of the headline metric, 1 point = 0.01.
    """

    max_mb: float | None = None
    max_ms: float | None = None
    max_drop: float | None = None

    @property
    def is_given(self) -> bool:
        """Whether anything is limited."""
        return any(limit is not None for limit in dataclasses.astuple(self))

    def excesses(self, candidate: Candidate) -> list[str]:
        """By what a candidate breaks the budget, in words; empty when it fits."""
        found = (
            ("MB", candidate.size_bytes / 1e6, self.max_mb),
            ("ms", candidate.p50_ms, self.max_ms),
            ("points lost", 100 * candidate.drop, self.max_drop),
        )
        return [
            f"{value:.2f} {unit} of {limit:g}"
            for unit, value, limit in found
            if limit is not None and value > limit
        ]


def frontier(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates that no other beats, smallest file first.

    Example:

    >>> small, exact = Candidate("int8", 4, 0.1, 0.01), Candidate("float32", 16, 0.2, 0.0)
    >>> [c.name for c in frontier([exact, small, Candidate("static_int8", 5, 0.3, 0.02)])]
    ['int8', 'float32']
    """
    kept = [one for one in candidates if not any(one.is_beaten_by(other) for other in candidates)]
    return sorted(kept, key=lambda one: one.size_bytes)


def choose(candidates: Sequence[Candidate], budget: Budget) -> tuple[Candidate | None, list[str]]:
    """The smallest candidate within the budget, and why in sentences.

    A budget bounds what matters to the user, so within it fewer bytes decide.

    Returns:
        The choice, or None when nothing fits, and sentences for the user.
    """
    fitting = [one for one in frontier(candidates) if not budget.excesses(one)]
    if fitting:
        chosen = fitting[0]
        return chosen, [
            f"Take {chosen.name}: {chosen.size_bytes / 1e6:.2f} MB, {chosen.p50_ms:.2f} ms, "
            f"{100 * chosen.drop:.2f} points lost on held-out rows. "
            f"{len(fitting)} of {len(candidates)} recipes are within the budget and beaten by none."
        ]
    reasons = [f"{one.name} ({', '.join(budget.excesses(one))})" for one in frontier(candidates)]
    return None, [
        f"Nothing is within the budget: {'; '.join(reasons)}. Allow more, or distil a smaller "
        "student."
    ]


def slower_than_float(candidates: Sequence[Candidate]) -> list[str]:
    """A sentence for each quantized file that is no faster here than float32."""
    times = {one.name: one.p50_ms for one in candidates}
    if "float32" not in times:
        return []
    return [
        f"{name} is slower here than float32: {ms / times['float32']:.2f} of its time."
        for name, ms in times.items()
        if ms > times["float32"]
    ]
