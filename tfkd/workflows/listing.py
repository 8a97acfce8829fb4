"""Things with names: data sets, models, recipes and formats, from their catalogs."""

import dataclasses

from tfkd.compression.formats import FORMATS
from tfkd.compression.recipes import RECIPES
from tfkd.config.fields import nearest
from tfkd.data.catalog import CATALOG as DATASETS
from tfkd.errors import ConfigError
from tfkd.evaluation.table import Table, words
from tfkd.models.sizes import SIZE_WORDS

Row = dict[str, object]
SENTENCES = ("description", "when_to_use")
KINDS: dict[str, list[Row]] = {
    "datasets": [
        {
            "name": spec.name,
            "task": spec.task,
            "texts": spec.num_texts,
            "classes": len(spec.label_names),
            "metric": spec.metric,
            "teacher": spec.teacher,
            "student": spec.student,
            "description": spec.description,
        }
        for spec in DATASETS.values()
    ],
    "models": [
        {
            "name": entry.name,
            "learning_rate": entry.learning_rate,
            "description": entry.description,
        }
        for entry in SIZE_WORDS.values()
    ],
    "recipes": [
        {
            "name": recipe.name,
            "calibration": "yes" if recipe.needs_calibration else "no",
            "training": "yes" if recipe.trained else "no",
            "description": recipe.summary,
            "when_to_use": recipe.when_to_use,
        }
        for recipe in RECIPES.values()
    ],
    "formats": [
        {"name": form.name, "description": form.summary, "when_to_use": form.when_to_use}
        for form in FORMATS.values()
    ],
}


@dataclasses.dataclass(frozen=True)
class Listing:
    """Named things by kind.

    Attributes:
        kinds: Kind (datasets, models, recipes, formats) to its rows; all rows of a kind have the
            same keys.
    """

    kinds: dict[str, list[Row]]

    def to_dict(self) -> dict[str, list[Row]]:
        """The rows as plain JSON values."""
        return self.kinds

    def render(self) -> list[Table | str]:
        """One table a kind, under its name."""
        return [part for kind, rows in self.kinds.items() for part in (kind, _table(rows))]


def listing(kind: str | None = None) -> Listing:
    """Lists one kind of things, or all.

    Args:
        kind: String or None. "datasets", "models", "recipes" or "formats".

    Raises:
        ConfigError: There is no such kind.

    Example:

    >>> [row["name"] for row in listing("recipes").kinds["recipes"]][:3]
    ['float32', 'float16', 'dynamic_int8']
    """
    if kind is not None and kind not in KINDS:
        raise ConfigError(
            f"Expected datasets, models, recipes or formats. Received: `{kind}`. "
            f"{nearest(kind, list(KINDS))}"
        )
    return Listing({name: rows for name, rows in KINDS.items() if kind in (None, name)})


def _table(rows: list[Row]) -> Table:
    # A name cut in two could not be copied into a command.
    return Table(
        [words(key, [row[key] for row in rows], wraps=key in SENTENCES) for key in rows[0]]
    )
