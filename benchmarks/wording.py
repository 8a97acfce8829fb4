"""Gives kept verdicts and sentences today's words; no figure changes.

python benchmarks/results.py words
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import quantization

from tfkd.evaluation.seeds import SeedsComparison
from tfkd.evaluation.verdict import BETTER, WORSE, Comparison
from tfkd.studies.questions import in_words
from tfkd.studies.table import StudyResult

# The words of runs and studies made before.
VERDICTS = {"BEATS": BETTER, "NO BEATS": WORSE}
PHRASES = {
    " does not beat ": " is worse than ",
    ": it is behind by ": " by ",
    " beats ": " is better than ",
}


def comparison(values: Mapping[str, Any]) -> Comparison:
    """A kept comparison of two models."""
    return Comparison(**{**values, "verdict": _verdict(values)})


def seeds_comparison(values: Mapping[str, Any]) -> SeedsComparison:
    """A kept comparison over seeds; other keys are passed over."""
    fields = {field.name: values[field.name] for field in dataclasses.fields(SeedsComparison)}
    return SeedsComparison(
        **{
            **fields,
            "differences": tuple(values["differences"]),
            "rows": comparison(values["rows"]),
            "within": tuple(map(comparison, values["within"])),
            "verdict": _verdict(values),
        }
    )


def run_sentences(metrics: Mapping[str, Any]) -> list[str]:
    """The sentences of a run, from the comparisons in its metrics.json."""
    return [
        comparison(values).sentence("student", pair.removeprefix("student_vs_"), metrics["metric"])
        + "."
        for pair, values in metrics["comparisons"].items()
    ]


def study(result: StudyResult) -> StudyResult:
    """A study with the verdicts and sentences of its figures."""
    datasets = {
        name: {**found, "comparisons": [_answer(found, item) for item in found["comparisons"]]}
        for name, found in result.datasets.items()
    }
    return dataclasses.replace(result, datasets=datasets)


def recipes(found: Mapping[str, Any]) -> dict[str, Any]:
    """One data set of results/quantization.json with the sentences of its figures."""
    comparisons = {pair: comparison(values) for pair, values in found["comparisons"].items()}
    return {
        **found,
        "comparisons": {pair: one.to_dict() for pair, one in comparisons.items()},
        "sentences": quantization.sentences(comparisons, found["best_after_training"]),
    }


def sentence(text: str) -> str:
    """A sentence of which no figures were kept."""
    for before, after in PHRASES.items():
        text = text.replace(before, after)
    return text


def _answer(found: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    teachers = {row["arm"] for row in found["rows"] if not row["seeds"]}
    outcome = seeds_comparison(item)
    told = in_words(outcome, item["a"], item["b"], found["metric"], item["b"] in teachers)
    return {**item, **outcome.to_dict(), "sentence": told}


def _verdict(values: Mapping[str, Any]) -> str:
    return VERDICTS.get(values["verdict"], values["verdict"])
