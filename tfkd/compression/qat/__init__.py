"""Quantization-aware training: a tf_keras twin of a student, trained and written as integers."""
