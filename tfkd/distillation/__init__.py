"""Losses, the Distiller, its training and the teacher's stored logits."""

from tfkd.keras_environment import settle_for_modules

settle_for_modules()
