"""Studies: arms x seeds x data sets from one TOML file, one table, a verdict on each question."""
