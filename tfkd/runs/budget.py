"""How long an arm is trained where nobody says: so many texts seen, whatever the number of rows.

A student from scratch needs some thousand steps. In passes over the rows that is four for a hundred
thousand of them and dozens for a thousand; the same number of passes for both starves the second.
"""

import dataclasses

from tfkd.models.checkpoints import Source

# Passes without a better validation metric before an end, as a share of all: a few dozen rows are
# held out of a small set, and their metric stands still for some passes while the loss falls.
PATIENCE_SHARE, LEAST_PATIENCE = 1 / 3, 3


@dataclasses.dataclass(frozen=True)
class Budget:
    """The length of a training.

    Attributes:
        texts: Texts to be seen, the same one as often as it is seen.
        fewest: Passes over many rows, though they are more texts.
        most: Passes over few rows, though they are fewer.
    """

    texts: int
    fewest: int
    most: int

    def epochs(self, num_rows: int) -> int:
        """Passes over so many rows.

        Example:

        >>> STUDENT.epochs(5000)
        40
        """
        return min(max(self.texts // num_rows, self.fewest), self.most)


# A published encoder; a student that starts from nothing but a teacher's token table, or from
# `tfkd pretrain`; and that one there.
PRETRAINED = Budget(40_000, fewest=3, most=10)
STUDENT = Budget(200_000, fewest=4, most=60)
GENERAL = Budget(600_000, fewest=3, most=30)


def budget_of(source: Source) -> Budget:
    """The budget of a model on a task: by whether it has a size word, or was published."""
    return PRETRAINED if source.size is None else STUDENT


def patience(epochs: int) -> int:
    """Passes without a better validation metric before a training of so many passes ends.

    Example:

    >>> patience(40)
    13
    """
    return max(int(epochs * PATIENCE_SHARE), LEAST_PATIENCE)
