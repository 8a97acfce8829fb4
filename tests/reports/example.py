"""A run that never was: six test rows, a teacher, a control, a student and its file."""

import json

import numpy as np

from tfkd.artifacts import RunFolder
from tfkd.config.training import DistillConfig
from tfkd.data.examples import SINGLE_LABEL, Dataset, Example, example_of
from tfkd.evaluation.rows import Row
from tfkd.evaluation.verdict import compare
from tfkd.reports.predictions import NAME, Answered, Predictions, write_predictions
from tfkd.reports.run_page import RunReport

NAMES = ("no", "yes")
TEXTS = ["rain", "<script>alert(1)</script>", 'a,"b"\n=c', "sun", "fog & mist", "hail"]
LABELS = np.array([0, 0, 0, 1, 1, 1])
DATASET = Dataset(
    "weather",
    SINGLE_LABEL,
    NAMES,
    1,
    "accuracy",
    {"test": [Example((text,), int(label)) for text, label in zip(TEXTS, LABELS, strict=True)]},
)


def logits(*of_yes):
    """Logits whose softmax gives these probabilities of yes."""
    of_yes = np.array(of_yes)
    return np.log(np.stack([1 - of_yes, of_yes], axis=1)).astype(np.float32)


# The teacher has row 4 wrong, the student rows 1 and 4, its file row 1 alone.
ANSWERS = {
    "teacher": logits(0.1, 0.2, 0.3, 0.9, 0.4, 0.8),
    "control": logits(0.6, 0.7, 0.3, 0.9, 0.4, 0.8),
    "student": logits(0.2, 0.9, 0.3, 0.7, 0.25, 0.6),
    "dynamic_int8": logits(0.2, 0.9, 0.3, 0.7, 0.55, 0.6),
}


def row(arm, recipe="keras", accuracy=0.5, size=1_000_000, p50=None, model="bert_tiny"):
    return Row(
        dataset="weather",
        arm=arm,
        model=model,
        recipe=recipe,
        seed=7,
        metrics={"accuracy": accuracy},
        size_bytes=size,
        parameters=10,
        latency=p50 and {"p50_ms": p50, "encoded_p50_ms": p50},
        command="python -m tfkd distill --dataset weather",
    )


ROWS = [
    row("teacher", accuracy=5 / 6, size=91_100_000, p50=8.0, model="models/minilm"),
    row("baseline", "scikit-learn", 0.5, 300_000, 0.5, "TF-IDF + linear SVM"),
    row("control", accuracy=0.5),
    row("student", accuracy=4 / 6, p50=4.0),
    row("student", "dynamic_int8", 5 / 6, 250_000, 0.2),
]


def record(**changes):
    """The figures of the run, as metrics.json holds them."""
    found = compare([True] * 40, [True] * 30 + [False] * 10)
    history = [{"epoch": 1, "validation_accuracy": 0.4}, {"epoch": 2, "validation_accuracy": 0.6}]
    made = {
        "rows": [item.to_dict() for item in ROWS],
        "metric": "accuracy",
        "comparisons": {"student_vs_control": found.to_dict()},
        "sentences": ["student is better than control by 25.00 points."],
        "seconds": {"train student": 3.0, "other": 1.0},
        "warning": None,
        "training": {name: {"history": history} for name in ("control", "student")},
        "exports": {
            "dynamic_int8": {
                "num_texts": 500,
                "agreement": 0.996,
                "largest_logit_difference": 0.0238,
                "operators": {"sentence": "2 products int8 weights; whole in 1 partition"},
            }
        },
        "data": {
            "dataset": "weather",
            "task": "single_label",
            "metric": "accuracy",
            "label_names": list(NAMES),
            "splits": {"test": {"num_rows": 6, "fingerprint": "0123456789abcdef01"}},
        },
        "seed": 7,
        "versions": {"python": "3.11.2", "keras": "3.15.1"},
    }
    return json.loads(json.dumps(made | changes))


def config(**changes):
    """Its settings, as config.json holds them."""
    return {"verb": "distill", "dataset": "weather", "teacher": "models/minilm", **changes}


def predictions(folder, dataset=DATASET, labels=LABELS, answers=ANSWERS, thresholds=0.5):
    """Its answers to the test rows, written and read again."""
    models = {name: Answered(values, thresholds) for name, values in answers.items()}
    write_predictions(folder, dataset, labels, models)
    return Predictions.load(folder / "predictions.parquet")


def with_ids(dataset):
    """The same rows, with names of their source."""
    rows = [
        example_of(item.texts, item.label, f"T-{place}")
        for place, item in enumerate(dataset.splits["test"])
    ]
    return Dataset("weather", SINGLE_LABEL, NAMES, 1, "accuracy", {"test": rows})


def report(folder, **changes):
    """The run, as far as a report needs it."""
    return RunReport(config(), record(**changes), predictions(folder))


def finished_run(folder, answers=ANSWERS, dataset=DATASET, labels=LABELS):
    """The run's folder, as far as verbs without a model read it."""
    run = RunFolder(folder)
    run.start("distill", DistillConfig(dataset="weather", teacher="models/minilm").to_dict(), False)
    predictions(folder, dataset, labels, answers)
    run.finish(record(), [NAME])
    return folder
