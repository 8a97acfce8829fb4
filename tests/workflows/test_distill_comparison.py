"""What a distillation says of its student: compared by the headline metric of the data set."""

from types import SimpleNamespace

import numpy as np
import pytest

from tfkd.config.training import DistillConfig
from tfkd.evaluation.resampling import answers_of, columns
from tfkd.evaluation.verdict import compare_answers
from tfkd.workflows.distill import _comparisons


@pytest.mark.parametrize(
    ("task", "metric", "words"),
    [("regression", "pearson", "in Pearson"), ("single_label", "mcc", "in MCC")],
)
def test_student_is_compared_by_the_headline_metric(task, metric, words):
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 300) if task == "single_label" else random.normal(size=300)
    truth = np.eye(2)[labels] if task == "single_label" else labels[:, None]
    noise = {"student": 0.5, "control": 0.9, "teacher": 0.3}
    logits = {name: truth + random.normal(0, size, truth.shape) for name, size in noise.items()}
    names = [str(index) for index in range(truth.shape[1])]
    material = SimpleNamespace(
        dataset=SimpleNamespace(task=task, metric=metric, label_names=names),
        labels=lambda split: labels,
    )
    models = {name: SimpleNamespace(thresholds=0.5) for name in logits}
    config = DistillConfig(dataset="demo", seed=3)
    comparisons, sentences = _comparisons(material, models, logits, config)
    student, control = (answers_of(task, logits[name])[None] for name in ("student", "control"))
    expected, _ = compare_answers(metric, columns(task, labels, len(names)), student, control, 3)
    assert comparisons["student_vs_control"] == expected
    assert expected.test == "paired bootstrap"
    assert sentences[0].startswith("student is better than control by ")
    assert sentences[1].startswith("student is worse than teacher by ")
    assert all(words in sentence for sentence in sentences)
