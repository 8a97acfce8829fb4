"""What all contenders of benchmarks/training.py share: texts, and one teacher in two libraries.

The teacher is fine-tuned once with tfkd. Its weights go into transformers' BertModel, whose logits
must be the Keras model's.
"""

import csv
import itertools
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tfkd.artifacts import read_json, write_json
from tfkd.data.sources import load
from tfkd.errors import ArtifactError, DatasetError, ModelError
from tfkd.process import answer
from tfkd.quiet import import_tensorflow, quiet_libraries

VALIDATION_FRACTION = 0.05
TEACHER_LENGTH, TEACHER_SEED = 128, 0
LARGEST_DIFFERENCE = 1e-3
NUM_COMPARED = 64
DONE = "material.json"


def make(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Texts and teacher in a folder, made now or before; the record of them.

    Args:
        settings: `dataset`, `data_dir`, `teacher` (a Hugging Face folder), `rows`, `test_rows`.
        folder: Path.

    Raises:
        ArtifactError: The folder holds material of other settings.
        DatasetError: The data cannot be had, or there are too few rows.
        ModelError: The two teachers do not agree.
    """
    asked = {**settings, "teacher": Path(settings["teacher"]).name}
    del asked["data_dir"]
    if (folder / DONE).is_file():
        found = read_json(folder / DONE)
        for name, value in asked.items():
            if found[name] != value:
                raise ArtifactError(
                    f"Expected material with {name}={value!r} in {folder}. Received: "
                    f"{name}={found[name]!r}. Give another folder with --work-dir."
                )
        return found
    # What a killed session left.
    shutil.rmtree(folder, ignore_errors=True)
    write_texts(settings, folder / "data")
    accuracy = make_teacher(settings["teacher"], folder)
    difference = copy_teacher(settings["teacher"], folder)
    record = {**asked, "teacher_accuracy": accuracy, "teacher_logit_difference": difference}
    write_json(folder / DONE, record)
    return record


def write_texts(settings: dict[str, Any], folder: Path) -> None:
    """The first training rows, those held out of them for tfkd's choice of an epoch, test rows."""
    rows = settings["rows"]
    most = round(rows / (1 - VALIDATION_FRACTION)) + 1
    dataset = load(
        settings["dataset"], settings["data_dir"], VALIDATION_FRACTION, max_train_rows=most
    )
    counts = {"train": rows, "validation": most - rows, "test": settings["test_rows"]}
    folder.mkdir(parents=True)
    for split, count in counts.items():
        examples = list(itertools.islice(dataset.splits[split], count))
        if split != "validation" and len(examples) < count:
            raise DatasetError(
                f"Expected {count} rows in {split} of {dataset.name}. Received: {len(examples)}. "
                "Ask for fewer."
            )
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as stream:
            lines = csv.writer(stream)
            lines.writerow(("text", "label"))
            lines.writerows((" ".join(row.texts), row.label) for row in examples)
    names = "".join(f"{name}\n" for name in dataset.label_names)
    (folder / "labels.txt").write_text(names, encoding="utf-8")


def make_teacher(model: str, folder: Path) -> float:
    """Fine-tunes the teacher for one epoch; its accuracy on the test rows."""
    from tfkd.config.training import FinetuneConfig
    from tfkd.workflows.finetune import finetune

    result = finetune(
        FinetuneConfig(
            model=model,
            dataset=str(folder / "data"),
            output_dir=folder / "teacher",
            epochs=1,
            pooling="mean",
            sequence_length=TEACHER_LENGTH,
            seed=TEACHER_SEED,
            quiet=True,
        )
    )
    return result.metrics["accuracy"]


def copy_teacher(model: str, folder: Path) -> float:
    """Writes the teacher for transformers; the largest difference of a logit, from text on.

    Raises:
        ModelError: It is more than rounding.
    """
    # TensorFlow and Triton each bring LLVM, and a second LLVM ends the process.
    sys.modules["triton"] = None  # type: ignore[assignment]
    import torch
    import transformers
    from peers_network import Network
    from training_job import Job
    from training_pytorch import Teacher, predictor

    from tfkd.models.classifier import TextClassifier

    job = Job(str(folder), length=TEACHER_LENGTH)
    classifier = TextClassifier.load(job.teacher / "model")
    network = Network(classifier)
    network.bert.save_pretrained(job.torch_teacher)
    torch.save(network.logits.state_dict(), job.torch_teacher / "head.pt")
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    tokenizer.save_pretrained(job.torch_teacher)
    vocabulary = classifier.tokenizer.vocabulary
    (job.torch_teacher / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    texts = job.rows("test")[0][:NUM_COMPARED]
    theirs = predictor(job, tokenizer, Teacher(job.torch_teacher))(texts)
    difference = float(np.abs(theirs - classifier.predict(texts)).max())
    if difference > LARGEST_DIFFERENCE:
        raise ModelError(
            f"Expected the teacher's logits in PyTorch within {LARGEST_DIFFERENCE:g} of those in "
            f"Keras. Received: a difference of {difference:.2g}. Give a BERT encoder with its "
            "tokenizer in Hugging Face's format."
        )
    return difference


if __name__ == "__main__":
    quiet_libraries()
    import_tensorflow()
    given = json.load(sys.stdin)
    if given["settings"]["data_dir"] is not None:
        given["settings"]["data_dir"] = Path(given["settings"]["data_dir"])
    answer(make(given["settings"], Path(given["folder"])))
