"""Losses, the Distiller, its training and the teacher's stored logits."""
