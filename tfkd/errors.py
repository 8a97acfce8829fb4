"""Errors a user can fix. The command line prints them as one line and exits with 1.

TfkdError
├── ConfigError       a setting is unknown, of the wrong type or out of range
├── DatasetError      a data set is missing, cannot be fetched or holds a bad row
├── ModelError        a model name is unknown, or its files are missing or cannot be fetched
├── ArtifactError     a run folder is missing a part, was changed, or would be overwritten
└── ConversionError   a file could not be converted or did not pass its parity gate

Wrong arguments from Python code raise `ValueError` or `TypeError`, as in Keras.
"""


class TfkdError(Exception):
    """Base of every error that a user can fix."""


class ConfigError(TfkdError):
    """A setting is unknown, of the wrong type or out of range."""


class DatasetError(TfkdError):
    """A data set is missing, cannot be fetched or holds a bad row."""


class ModelError(TfkdError):
    """A model name is unknown, or its files are missing or cannot be fetched."""


class ArtifactError(TfkdError):
    """A run folder is missing a part, was changed, or would be overwritten."""


class ConversionError(TfkdError):
    """A file could not be converted or did not pass its parity gate."""
