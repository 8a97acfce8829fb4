"""The parts of a run, which verbs and studies share: material, teacher, student, files, record."""

from tfkd.keras_environment import settle_for_modules

settle_for_modules()
