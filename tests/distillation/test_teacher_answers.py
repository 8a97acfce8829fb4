"""Files of answers: what each form means in probabilities, whose a row is, and what is refused."""

import csv
import hashlib
import json
import re

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax

from tests.messages import exactly
from tfkd.data.examples import Dataset, Example, example_of
from tfkd.distillation.teacher_answers import KeyColumns, _spread, read_answers, text_hash
from tfkd.errors import DatasetError

CLASSES = ("anger", "joy", "love", "sadness")
EVEN = np.full(4, 0.25)
BY_ID = KeyColumns(("n", "id"), (("text",),))
BY_TEXT = KeyColumns((), (("text",),))


def dataset(task="single_label", names=CLASSES, num_texts=1):
    return Dataset("feelings", task, names, num_texts, "accuracy", {})


def jsonl(folder, rows, name="answers.jsonl"):
    path = folder / name
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def answered(path, task="single_label", names=CLASSES, columns=BY_ID):
    """Probabilities by key."""
    found = read_answers(path, dataset(task, names), columns)
    chances = expit(found.logits) if task == "multi_label" else softmax(found.logits, axis=-1)
    return {key: chances[row] for key, row in found.numbers.items()}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"probabilities": [0.1, 0.6, 0.2, 0.1]}, [0.1, 0.6, 0.2, 0.1]),
        # Two digits of a third; they are brought to a sum of 1.
        ({"probabilities": [0.33, 0.33, 0.33, 0]}, [1 / 3, 1 / 3, 1 / 3, 1e-6]),
        ({"probabilities": {"joy": 0.7, "love": 0.2}}, [0.05, 0.7, 0.2, 0.05]),
        (
            {"probabilities": '{"joy": 1, "anger": 0, "love": 0, "sadness": 0}'},
            [1e-6, 1, 1e-6, 1e-6],
        ),
        ({"logits": [0, 1, 2, 3]}, softmax([0, 1, 2, 3])),
        ({"logits": {"sadness": 3, "joy": 1, "anger": 0, "love": 2}}, softmax([0, 1, 2, 3])),
        ({"logprobs": {"joy": np.log(0.7), "love": np.log(0.2)}}, [0.05, 0.7, 0.2, 0.05]),
        # What is left would make the others likelier than the least of the likeliest two.
        ({"logprobs": {"joy": np.log(0.5), "love": np.log(0.1)}}, np.array([1, 5, 1, 1]) / 8),
        # Words that are no class had the rest.
        ({"logprobs": dict.fromkeys(CLASSES, np.log(0.2))}, EVEN),
        ({"logprobs": {"joy": 0.0, "love": -np.inf}}, [1e-6, 1, 1e-6, 1e-6]),
        ({"label": "joy", "confidence": 0.7}, [0.1, 0.7, 0.1, 0.1]),
        ({"label": " joy ", "confidence": "0,7"}, [0.1, 0.7, 0.1, 0.1]),
        ({"label": "love", "confidence": 0.1}, EVEN),
        ({"label": "joy"}, [1e-6, 1, 1e-6, 1e-6]),
        ({"anger": 0.1, "joy": 0.6, "love": 0.2, "sadness": 0.1}, [0.1, 0.6, 0.2, 0.1]),
    ],
)
def test_forms_of_an_answer(tmp_path, answer, expected):
    found = answered(jsonl(tmp_path, [{"id": 7, **answer}]))
    np.testing.assert_allclose(found["7"], expected, rtol=1e-5, atol=1e-9)


def test_what_predict_writes_is_read_whatever_else_is_there(tmp_path):
    path = tmp_path / "scored.csv"
    names = [f"probability:{name}" for name in CLASSES]
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label", "probability", *names])
        writer.writerow(["so happy", "love", 0.6, 0.1, 0.6, 0.2, 0.1])
    found = answered(path, columns=BY_TEXT)
    np.testing.assert_allclose(found[text_hash(Example(("so happy",), 0))], [0.1, 0.6, 0.2, 0.1])


def test_a_list_of_all_classes_in_parquet_and_rows_without_an_answer(tmp_path):
    path = tmp_path / "answers.parquet"
    struct = [{"joy": 0.7, "love": None}, {"joy": None, "love": None}, None]
    pyarrow.parquet.write_table(pyarrow.table({"id": [1, 2, 3], "probabilities": struct}), path)
    found = read_answers(path, dataset(), BY_ID)
    assert (list(found.numbers), found.num_empty) == (["1"], 2)
    np.testing.assert_allclose(softmax(found.logits[0]), [0.1, 0.7, 0.1, 0.1])


def test_several_labels_and_scores(tmp_path):
    names = ("rain", "wind")
    for rows, expected in (
        ([{"id": 1, "probabilities": {"wind": 0.75}}], [1e-6, 0.75]),
        ([{"id": 1, "logits": [1, -2]}], expit([1, -2])),
        ([{"id": 1, "rain": 0.5, "wind": 1}], [0.5, 1 - 1e-6]),
    ):
        chances = answered(jsonl(tmp_path, rows), "multi_label", names)["1"]
        np.testing.assert_allclose(chances, expected, rtol=1e-6)
    scores = read_answers(
        jsonl(tmp_path, [{"id": 1, "score": 2.5}, {"id": 1, "score": 3.5}]),
        dataset("regression", ("score",)),
        BY_ID,
    )
    assert scores.logits.tolist() == [[3.0]]


def test_several_answers_to_a_text_are_averaged(tmp_path):
    votes = [{"n": "a", "label": vote} for vote in ("joy", "joy", "love", "joy")]
    rows = [{"n": "b", "probabilities": [0.1, 0.6, 0.2, 0.1]}] * 2
    found = read_answers(jsonl(tmp_path, votes), dataset(), BY_ID)
    np.testing.assert_allclose(softmax(found.logits[0]), [0, 0.75, 0.25, 0], atol=2e-6)
    assert found.num_averaged == 1
    assert read_answers(jsonl(tmp_path, rows), dataset(), BY_ID).num_averaged == 0


def test_rows_are_found_by_id_by_text_or_by_its_hash(tmp_path):
    rows = [
        example_of([text], 0, number) for number, text in (("8", "two"), ("9", "one"), ("5", "x"))
    ]
    for key, columns, is_by_id in (
        ({"n": [9, 8]}, BY_ID, True),
        ({"id": ["9", "8"], "text": ["no", "no"]}, BY_ID, True),
        ({"id": [1, 2], "text": ["one", "two"]}, BY_TEXT, False),
        (
            {"text_sha256": [hashlib.sha256(t.encode()).hexdigest() for t in ("one", "two")]},
            BY_ID,
            False,
        ),
    ):
        said = [
            {name: values[row] for name, values in key.items()} | {"label": CLASSES[row]}
            for row in range(2)
        ]
        found = read_answers(jsonl(tmp_path, said), dataset(), columns)
        assert found.is_by_id is is_by_id
        numbers = found.find(rows)
        assert numbers.tolist() == [1, 0, -1]
        assert found.of(numbers)[:2].argmax(axis=1).tolist() == [1, 0]
        assert np.isnan(found.of(numbers)[2]).all()
    pair = jsonl(tmp_path, [{"sentence1": "a", "sentence2": "b", "label": "joy"}])
    found = read_answers(pair, dataset(num_texts=2), KeyColumns((), (("sentence1", "sentence2"),)))
    assert found.find([Example(("a", "b"), 0), Example(("b", "a"), 0)]).tolist() == [0, -1]


@given(
    st.lists(st.floats(0.001, 1), min_size=1, max_size=6),
    st.integers(0, 6),
)
def test_what_is_not_named_shares_evenly_and_leads_nowhere(named, num_others):
    named = np.array(named) / max(sum(named), 1)
    found = _spread(np.concatenate([named, np.full(num_others, np.nan)]))
    assert found.sum() == pytest.approx(1)
    assert np.argsort(-found, kind="stable")[0] == named.argmax()
    others = found[len(named) :]
    assert len(set(others.tolist())) <= 1
    assert (others <= found[: len(named)].min() + 1e-12).all()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"label": "joyy"},
            "Expected a class of the data in {}, row 2 {}. Received: 'joyy'. Did you mean `joy`?",
        ),
        (
            {"probabilities": [0.5, 0.6, 0, 0]},
            "Expected probabilities of sum 1 in {}, row 2 {}. Received: a sum of 1.1.",
        ),
        (
            {"probabilities": [0.5, 0.2, 0, 0]},
            "Expected probabilities of sum 1 in {}, row 2 {}. Received: a sum of 0.7.",
        ),
        (
            {"probabilities": [1.5, -0.5, 0, 0]},
            "Expected probabilities from 0 to 1 in {}, row 2 {}. Received: 1.5.",
        ),
        (
            {"probabilities": [1]},
            "Expected 4 probabilities, one for each class in {}, row 2 {}. Received: 1. Name their "
            "classes.",
        ),
        (
            {"probabilities": '{"joy": 0.2, "joy": 0.8}'},
            "Expected each key of an object once in {}, row 2 {}. Received: 'joy' 2 times.",
        ),
        (
            {"probabilities": {"joy": "much"}},
            "Expected numbers as probabilities in {}, row 2 {}. Received: 'much'.",
        ),
        (
            {"logits": {"joy": 1}},
            "Expected a logit for each of 4 classes in {}, row 2 {}. Received: 1. Give logprobs "
            "for some of them.",
        ),
        (
            {"logprobs": {"joy": 0.9}},
            "Expected logarithms of probabilities, at most 0 in {}, row 2 {}. Received: 0.9.",
        ),
        (
            {"label": "joy", "confidence": 85},
            "Expected a confidence above 0, up to 1 in {}, row 2 {}. Received: 85.",
        ),
    ],
)
def test_a_bad_answer_is_refused_by_its_row(tmp_path, row, message):
    # The first row has no answer at all.
    path = jsonl(tmp_path, [{"id": 1, **dict.fromkeys(row)}, {"id": 2, **row}])
    with pytest.raises(DatasetError, match=exactly(message.format(path, PLACE))):
        read_answers(path, dataset(), BY_ID)


PLACE = "(row 1 is the first row of data)"


def test_a_file_without_answers_or_keys_is_refused(tmp_path):
    path = jsonl(tmp_path, [{"id": 1, "answer": "joy"}])
    message = (
        "Expected a column for each class, or one of probabilities, logits, logprobs or label "
        f"(with confidence) in {path}. Received: id, answer."
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        read_answers(path, dataset(), BY_ID)
    path = tmp_path / "twice.csv"
    path.write_text("id,label,label\n1,joy,fear\n")
    message = f"Expected one column `label` in {path}. Received: several."
    with pytest.raises(DatasetError, match=exactly(message)):
        read_answers(path, dataset(), BY_ID)
    path = jsonl(tmp_path, [{"id": 1, "label": "joy"}])
    message = (
        f"Expected one of the columns text, text_sha256 in {path}, to know whose answer a row is. "
        "Received: id, label. Name the data's column of ids by --id-column to join by that."
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        read_answers(path, dataset(), BY_TEXT)
    path = jsonl(tmp_path, [{"id": 1, "label": None}])
    with pytest.raises(
        DatasetError, match=exactly(f"Expected answers in {path}. Received: rows without one.")
    ):
        read_answers(path, dataset(), BY_ID)
    path = jsonl(tmp_path, [{"text": 7, "label": "joy"}])
    message = f"Expected a string as text in {path}, row 1 (row 1 is the first row of data). "
    with pytest.raises(DatasetError, match=exactly(f"{message}Received: 7.")):
        read_answers(path, dataset(), BY_TEXT)
    path = jsonl(tmp_path, [{"id": None, "label": "joy"}])
    with pytest.raises(DatasetError, match=f"^Expected an id in {re.escape(str(path))}, row 1 "):
        read_answers(path, dataset(), BY_ID)
