"""The plain loop of benchmarks/training.py: PyTorch and transformers, the teacher in every step."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import transformers
from torch.nn import functional
from torch.utils.data import DataLoader
from training_job import (
    CLIP_NORM,
    FILTERS,
    HEADS,
    KERNEL_SIZE,
    LAYERS,
    WARMUP_FRACTION,
    WEIGHT_DECAY,
    WIDTH,
    Job,
    Trained,
)
from transformers.modeling_outputs import SequenceClassifierOutput

# Transformers loads a name when it is asked for; that belongs to the imports.
IMPORTED = (
    transformers.AutoModel,
    transformers.AutoTokenizer,
    transformers.BertForSequenceClassification,
    transformers.BertModel,
    transformers.DataCollatorWithPadding,
    transformers.get_linear_schedule_with_warmup,
)
Batch = dict[str, torch.Tensor]


class Teacher(torch.nn.Module):
    """The fine-tuned encoder with mean pooling and its head.

    Args:
        folder: `Job.torch_teacher`.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.bert = transformers.AutoModel.from_pretrained(folder, add_pooling_layer=False)
        head = torch.load(folder / "head.pt", weights_only=True)
        self.logits = torch.nn.Linear(*reversed(head["weight"].shape))
        self.logits.load_state_dict(head)
        self.eval()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor,
        labels: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Logits, float32 `[n, num_labels]`."""
        vectors = self.bert(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
        shares = attention_mask.unsqueeze(-1).to(vectors.dtype)
        return SequenceClassifierOutput(
            logits=self.logits((vectors * shares).sum(1) / shares.sum(1))
        )


class Cnn(torch.nn.Module):
    """The convolutional student of tfkd: a token table, detectors of three tokens, max pooling."""

    def __init__(self, vocabulary_size: int, num_labels: int) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(vocabulary_size, WIDTH)
        self.detectors = torch.nn.Conv1d(WIDTH, FILTERS, KERNEL_SIZE, padding="same")
        self.table_dropout, self.dropout = torch.nn.Dropout(0.1), torch.nn.Dropout(0.3)
        self.logits = torch.nn.Linear(FILTERS, num_labels)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: torch.Tensor
    ) -> SequenceClassifierOutput:
        """Logits, float32 `[n, num_labels]`."""
        shares = attention_mask.unsqueeze(-1).to(self.table.weight.dtype)
        vectors = self.table_dropout(self.table(input_ids) * shares)
        # ReLU leaves nothing below zero, so zero is the least that padding can say.
        found = functional.relu(self.detectors(vectors.transpose(1, 2))) * shares.transpose(1, 2)
        return SequenceClassifierOutput(logits=self.logits(self.dropout(found.amax(2))))


def train(job: Job) -> Trained:
    """The usual loop: padded to a batch's longest text, AdamW, KL and cross entropy."""
    torch.manual_seed(job.seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(job.torch_teacher)
    teacher, student = Teacher(job.torch_teacher), new_student(job, len(tokenizer))
    loader = new_loader(job, tokenizer)
    steps = job.epochs * len(loader)
    optimizer = torch.optim.AdamW(
        student.parameters(), lr=job.learning_rate, weight_decay=WEIGHT_DECAY
    )
    schedule = transformers.get_linear_schedule_with_warmup(
        optimizer, int(WARMUP_FRACTION * steps), steps
    )
    student.train()
    for _ in range(job.epochs):
        for batch in loader:
            loss = step_loss(job, teacher, student, batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(student.parameters(), CLIP_NORM)
            optimizer.step()
            schedule.step()
    return Trained([predictor(job, tokenizer, student)], steps)


def step_loss(
    job: Job, teacher: torch.nn.Module, student: torch.nn.Module, batch: Batch
) -> torch.Tensor:
    """What a step makes smaller: KL divergence to the teacher and cross entropy of the labels."""
    labels = batch.pop("labels")
    with arithmetic(job):
        with torch.no_grad():
            answers = teacher(**batch).logits
        logits = student(**batch).logits
    divergence = functional.kl_div(
        functional.log_softmax(logits.float() / job.temperature, dim=-1),
        functional.softmax(answers.float() / job.temperature, dim=-1),
        reduction="batchmean",
    )
    label_loss = functional.cross_entropy(logits.float(), labels)
    share = job.student_loss_weight
    return share * label_loss + (1 - share) * job.temperature**2 * divergence


def arithmetic(job: Job) -> contextlib.AbstractContextManager:
    """PyTorch's automatic mixed precision, if it is asked for."""
    if job.precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast("cpu", torch.bfloat16)


def new_student(job: Job, vocabulary_size: int) -> torch.nn.Module:
    """The untrained student, of the size that tfkd trains."""
    if job.student == "cnn":
        return Cnn(vocabulary_size, job.num_labels)
    return transformers.BertForSequenceClassification(
        transformers.BertConfig(
            vocab_size=vocabulary_size,
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            intermediate_size=4 * WIDTH,
            num_labels=job.num_labels,
        )
    )


def new_loader(job: Job, tokenizer: transformers.PreTrainedTokenizerBase) -> DataLoader:
    """Shuffled batches of the training rows, each as wide as its longest text."""
    texts, labels = job.rows("train")
    encoded = tokenizer(texts, truncation=True, max_length=job.length)
    rows = [
        {**{name: values[row] for name, values in encoded.items()}, "label": label}
        for row, label in enumerate(labels)
    ]
    collate = transformers.DataCollatorWithPadding(tokenizer)
    # A plain dictionary: TextBrewer takes a BatchEncoding for positional arguments.
    return DataLoader(
        rows, job.batch_size, shuffle=True, collate_fn=lambda batch: dict(collate(batch))
    )


def predictor(job: Job, tokenizer: transformers.PreTrainedTokenizerBase, model: torch.nn.Module):
    """The trained student as a function of texts."""

    def batches(texts: list[str]) -> Iterator[np.ndarray]:
        for start in range(0, len(texts), 64):
            batch = tokenizer(
                texts[start : start + 64],
                truncation=True,
                max_length=job.length,
                padding=True,
                return_tensors="pt",
            )
            yield model(**batch).logits.numpy()

    def predict(texts: list[str]) -> np.ndarray:
        model.eval()
        with torch.inference_mode():
            return np.concatenate(list(batches(texts)))

    return predict
