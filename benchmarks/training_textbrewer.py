"""TextBrewer as a contender of benchmarks/training.py, on models and batches of the plain loop."""

import sys
import tempfile
from typing import Any

import torch
import transformers
from training_job import CLIP_NORM, WARMUP_FRACTION, WEIGHT_DECAY, Job, Trained
from training_pytorch import Teacher, new_loader, new_student, predictor

# TensorBoard's writer, which TextBrewer imports, would bring TensorFlow into this process.
sys.modules["tensorflow"] = None  # type: ignore[assignment]
import textbrewer  # noqa: E402


def train(job: Job) -> Trained:
    """`BasicDistiller` with its teacher in every step, or with its cache of logits."""
    torch.manual_seed(job.seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(job.torch_teacher)
    teacher, student = Teacher(job.torch_teacher), new_student(job, len(tokenizer))
    loader = new_loader(job, tokenizer)
    steps = job.epochs * len(loader)
    # GeneralDistiller would turn the cache off without a word.
    distiller = textbrewer.BasicDistiller(
        textbrewer.TrainingConfig(device="cpu", output_dir=tempfile.mkdtemp()),
        textbrewer.DistillationConfig(
            temperature=job.temperature,
            hard_label_weight=job.student_loss_weight,
            # TextBrewer leaves out the temperature's square.
            kd_loss_weight=(1 - job.student_loss_weight) * job.temperature**2,
            is_caching_logits=job.is_cached,
        ),
        teacher,
        student,
        _logits,
        _logits_and_loss,
    )
    optimizer = torch.optim.AdamW(
        student.parameters(), lr=job.learning_rate, weight_decay=WEIGHT_DECAY
    )
    with distiller:
        distiller.train(
            optimizer,
            loader,
            num_epochs=job.epochs,
            scheduler_class=transformers.get_linear_schedule_with_warmup,
            scheduler_args={
                "num_warmup_steps": int(WARMUP_FRACTION * steps),
                "num_training_steps": steps,
            },
            max_grad_norm=CLIP_NORM,
        )
    return Trained([predictor(job, tokenizer, student)], steps)


def _logits(batch: dict[str, Any], outputs: Any) -> dict[str, Any]:
    return {"logits": outputs.logits}


def _logits_and_loss(batch: dict[str, Any], outputs: Any) -> dict[str, Any]:
    return {"logits": outputs.logits, "losses": outputs.loss}
