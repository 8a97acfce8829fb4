r"""Runs an edge package in MediaPipe's TextClassifier and compares its labels with tfkd's.

    tfkd export saved_models/ag_news-bert_tiny --format edge
    tfkd predict saved_models/ag_news-bert_tiny --recipe dynamic_int8 --json \
        --input texts.txt > expected.jsonl

    python -m venv edge && edge/bin/pip install -r benchmarks/edge_client_requirements.txt
    edge/bin/python benchmarks/edge_client.py \
        saved_models/ag_news-bert_tiny/student/edge-dynamic_int8.tflite expected.jsonl

It stands for any program that knows nothing of tfkd: MediaPipe reads vocabulary and labels from the
file and tokenizes by itself. Exits with 1 when a label differs.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from mediapipe.tasks.python.core.base_options import BaseOptions
from mediapipe.tasks.python.text import TextClassifier, TextClassifierOptions


def main(arguments: Sequence[str] | None = None) -> int:
    """Compares all texts; gives the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("package", type=Path, help=".tflite file of `tfkd export --format edge`")
    parser.add_argument("expected", type=Path, help="lines of `tfkd predict --json`")
    options = parser.parse_args(arguments)
    lines = options.expected.read_text(encoding="utf-8").splitlines()
    expected = [json.loads(line) for line in lines]
    found, seconds = answers(options.package, [row["text"] for row in expected])
    pairs = list(zip(expected, found, strict=True))
    for row, scores in pairs:
        if likeliest(scores) != row["label"]:
            print(f"{row['label']} in tfkd, {likeliest(scores)} in MediaPipe: {row['text']}")
    num_same = sum(likeliest(scores) == row["label"] for row, scores in pairs)
    difference = max(
        abs(score - row["probabilities"][name])
        for row, scores in pairs
        for name, score in scores.items()
    )
    print(
        f"{num_same} of {len(pairs)} labels are the same, largest difference of a score "
        f"{difference:.2g}, {1000 * seconds / len(pairs):.2f} ms a text"
    )
    return int(num_same != len(pairs))


def answers(package: Path, texts: Sequence[str]) -> tuple[list[dict[str, float]], float]:
    """Scores by label name of every text, and the seconds that took."""
    options = TextClassifierOptions(base_options=BaseOptions(model_asset_path=str(package)))
    with TextClassifier.create_from_options(options) as classifier:
        start = time.perf_counter()
        results = [classifier.classify(text) for text in texts]
        seconds = time.perf_counter() - start
    return [
        {
            category.category_name: category.score
            for category in result.classifications[0].categories
        }
        for result in results
    ], seconds


def likeliest(scores: dict[str, float]) -> str:
    """The label with the largest score."""
    return max(scores, key=scores.__getitem__)


if __name__ == "__main__":
    raise SystemExit(main())
