"""Studies: arms x seeds x data sets from one TOML file, one table, a verdict on each question."""

from tfkd.keras_environment import settle_for_modules

settle_for_modules()
