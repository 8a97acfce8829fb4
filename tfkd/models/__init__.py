"""Teachers and students: KerasHub encoders, Hugging Face folders, and small models from scratch."""

from tfkd.keras_environment import settle_for_modules

settle_for_modules()
