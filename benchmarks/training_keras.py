"""Keras' own Distiller as a contender of benchmarks/training.py, on KerasHub's models."""

import keras
import keras_hub
import numpy as np
from keras.distillation import Distiller, LogitsDistillation
from training_job import (
    CLIP_NORM,
    HEADS,
    LAYERS,
    WARMUP_FRACTION,
    WEIGHT_DECAY,
    WIDTH,
    Job,
    Trained,
)

from tfkd.distillation.schedule import WarmupSchedule
from tfkd.models import pooling  # noqa: F401  (a layer of the teacher)


def train(job: Job) -> Trained:
    """`fit` of a Distiller; teacher and student share their inputs, all padded to `job.length`."""
    keras.utils.set_random_seed(job.seed)
    tokenizer = keras_hub.models.BertTokenizer(
        str(job.torch_teacher / "vocab.txt"), lowercase=True, strip_accents=True
    )
    encode = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=job.length)
    teacher = keras.saving.load_model(job.teacher / "model" / "model.keras", compile=False)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=tokenizer.vocabulary_size(),
        num_layers=LAYERS,
        num_heads=HEADS,
        hidden_dim=WIDTH,
        intermediate_dim=4 * WIDTH,
    )
    student = keras_hub.models.BertTextClassifier(backbone, job.num_labels, preprocessor=None)
    texts, labels = job.rows("train")
    steps = job.epochs * -(-len(texts) // job.batch_size)
    # As a string this loss would be taken of the logits as they are, without a softmax.
    loss = LogitsDistillation(job.temperature, keras.losses.KLDivergence())
    distiller = Distiller(teacher, student, loss, student_loss_weight=job.student_loss_weight)
    distiller.compile(
        keras.optimizers.AdamW(
            WarmupSchedule(job.learning_rate, steps, int(WARMUP_FRACTION * steps)),
            weight_decay=WEIGHT_DECAY,
            global_clipnorm=CLIP_NORM,
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    distiller.fit(encode(texts), np.array(labels), job.batch_size, epochs=job.epochs, verbose=0)
    return Trained([lambda given: student.predict(encode(given), verbose=0)], steps)
