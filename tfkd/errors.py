"""Errors a user can fix. The command line prints them as one line and exits with 1.

TfkdError
├── ConfigError       a setting is unknown, of the wrong type or out of range
├── DatasetError      a data set is missing, cannot be fetched or holds a bad row
├── ModelError        a model name is unknown, or its files are missing or cannot be fetched
├── ArtifactError     a run folder is missing a part, was changed, or would be overwritten
└── ConversionError   a file could not be converted or did not pass its parity gate

Wrong arguments from Python code raise `ValueError` or `TypeError`, as in Keras; what the system
says of files stays an `OSError`, for which the command line finds words here.
"""

import errno
import re

# What was expected and what to do, by what the system says.
_ROOM = "room on the disk", "Free some, or give a folder on another disk."
_ACCESS = "a file or folder open to this user", "Change its permissions, or give another."
_PATH = "a path whose folders are folders", "Correct the path."
_HANDLES = "the system to open one more file", "Raise its limit: ulimit -n 4096."
_SYSTEM = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: ("the system to take a file of this size", "Raise its limit: ulimit -f."),
    errno.EACCES: _ACCESS,
    errno.EPERM: _ACCESS,
    errno.EROFS: ("a disk that can be written to", "Give a folder on another disk."),
    errno.ENAMETOOLONG: ("a path as short as the system takes", "Give a shorter one."),
    errno.ENOTDIR: _PATH,
    errno.EEXIST: _PATH,
    errno.ELOOP: _PATH,
    errno.EISDIR: ("a file", "Correct the path."),
    errno.ENOENT: ("a file or folder to stay where it was", "Start the command again."),
    errno.ENOTEMPTY: ("a folder that no other program writes into", "Start the command again."),
    errno.EMFILE: _HANDLES,
    errno.ENFILE: _HANDLES,
    errno.EIO: ("a disk that can be read and written", "Look into the system's log."),
    errno.ESTALE: ("a network disk that is there", "Start the command again."),
}
_SHOWN_LETTERS = 120


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


def system_error(error: OSError) -> str | None:
    """One line for an error of the system, or None for one that a user can do nothing about.

    >>> system_error(OSError(errno.ENOSPC, "No space left on device"))
    'Expected room on the disk. Received: No space left on device. Free some, or ...'
    """
    number, said = error.errno, error.strerror or str(error)
    # NumPy counts what the disk took, and says no more.
    if number is None and re.match(r"\d+ requested and \d+ written$", said):
        number = errno.ENOSPC
    if number not in _SYSTEM:
        return None
    expected, advice = _SYSTEM[number]
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    # The end says more than the beginning, which most paths share.
    shown = [
        name if len(name) <= _SHOWN_LETTERS else f"...{name[-_SHOWN_LETTERS:]}" for name in names
    ]
    return f"Expected {expected}. Received: {': '.join([said, *shown])}. {advice}"


def shown(value: object, length: int = 80) -> str:
    """A value as it stands in an error message: quoted, and cut where it is long."""
    try:
        text = repr(value)
    except RecursionError:
        text = f"a {type(value).__name__} of many levels"
    except ValueError:
        text = "a number of thousands of digits"
    return text if len(text) <= length else text[: length - 3] + "..."
