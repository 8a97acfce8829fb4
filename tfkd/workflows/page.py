"""The README.md of a run folder: its table, the exact command, the rows of data it stands on."""

from collections.abc import Mapping, Sequence

from tfkd import artifacts
from tfkd.data.examples import MULTI_LABEL
from tfkd.evaluation import report
from tfkd.workflows.preparation import Material

# How a text gets its labels, where that is not the likeliest one.
DECIDED = {
    MULTI_LABEL: " A text has the labels whose probability is above their own thresholds: each "
    "model's are tuned for the F1 of each label on the validation rows and kept in its "
    "classifier.json. Epochs are compared by average precision, which needs none."
}


def run_page(
    title: str,
    rows: Sequence[report.Row],
    material: Material,
    files: Mapping[str, str],
    comparison: str = "",
) -> str:
    """The page in Markdown.

    Args:
        title: Heading.
        rows: `report.Row` of each model; seed and command are the first one's.
        material: `Material`: counts and fingerprints of the splits.
        files: What each file of the folder is, by its path.
        comparison: Sentences on the paired tests; empty for none.
    """
    counts = "; ".join(
        f"{name}: {item.num_rows:,} rows, fingerprint {item.fingerprint[:16]}"
        for name, item in material.summaries.items()
    )
    decided = DECIDED.get(material.dataset.task, "")
    return report.run_readme(
        report.RunSummary(
            title=title,
            rows=rows,
            metric=material.dataset.metric,
            comparison=comparison,
            command=rows[0].command,
            versions=artifacts.versions(),
            data=f"{counts}. Figures are of the test split.{decided}",
            seed=rows[0].seed,
            files=files,
        )
    )
