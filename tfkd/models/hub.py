"""Fetches a published model into its hub's own cache, so that every model is a local folder.

A hub that does not answer is noticed in seconds, not after the downloaders' minutes of retries; a
model fetched before is then taken from the cache. Before any hub, a folder of the user's own is
looked into.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tfkd.errors import ModelError, TfkdError
from tfkd.models.sizes import SIZE_WORDS
from tfkd.network import is_reachable

Loaded = TypeVar("Loaded")

# Folder that holds <owner>/<model> and so on, as the handles behind their `hf://` have it.
MODEL_DIR = "TFKD_MODEL_DIR"
HUGGING_FACE, KAGGLE = "hf://", "kaggle://"
HOSTS = {HUGGING_FACE: "huggingface.co", KAGGLE: "www.kaggle.com"}
# What is fetched of a repository: weights that are no pickles, vocabularies, settings.
REPOSITORY_FILES = ("*.json", "*.safetensors", "*.weights.h5", "*.txt", "*.model", "assets/*")
OFFLINE_CHOICES = (
    "Give a local folder (a KerasHub preset, a Hugging Face folder with model.safetensors, or a "
    f"run of `tfkd finetune`) or a size word ({', '.join(SIZE_WORDS)})."
)


def fetch(handle: str, name: str) -> Path:
    """The local folder of a published model: the user's own, or the hub's cache.

    Args:
        handle: String. `hf://owner/model` or `kaggle://owner/model/framework/variation`.
        name: String. Name as the user wrote it, for the error message.

    Raises:
        ModelError: The hub cannot be reached and the model is not in its cache, or has no such
            model.

    Example:

    >>> fetch("kaggle://keras/bert/keras/bert_tiny_en_uncased", "bert_tiny_en_uncased")
    """
    scheme = HUGGING_FACE if handle.startswith(HUGGING_FACE) else KAGGLE
    own = Path(os.environ.get(MODEL_DIR, "")).expanduser() / handle.removeprefix(scheme)
    if os.environ.get(MODEL_DIR) and own.is_dir():
        return own
    download = _from_hugging_face if scheme == HUGGING_FACE else _from_kaggle
    is_online = is_reachable(HOSTS[scheme])
    folder = loaded(name, lambda: download(handle.removeprefix(scheme), is_online))
    if folder is None:
        raise ModelError(
            f"Expected to fetch the preset {name!r}. {HOSTS[scheme]} cannot be reached. "
            f"{OFFLINE_CHOICES}"
        )
    return Path(folder)


def loaded(name: str, load: Callable[[], Loaded]) -> Loaded:
    """Calls a library's loader; what it raises becomes one line that names the offline choices.

    Raises:
        ModelError: The loader failed.
    """
    try:
        return load()
    except TfkdError:
        raise
    # KerasHub, Keras and TensorFlow each have errors of their own for a file that is no good.
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"Expected a loadable model. Received: {name!r}: {reason} {OFFLINE_CHOICES}"
        ) from error


def _from_hugging_face(repository: str, is_online: bool) -> str | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return snapshot_download(
            repository, allow_patterns=list(REPOSITORY_FILES), local_files_only=not is_online
        )
    except LocalEntryNotFoundError:
        if is_online:
            raise
        return None


def _from_kaggle(handle: str, is_online: bool) -> str | None:
    import kagglehub
    from kagglehub.cache import Cache
    from kagglehub.handle import parse_model_handle

    if is_online:
        return kagglehub.model_download(handle)
    parsed = parse_model_handle(handle)
    return Cache().load_from_cache(parsed) if parsed.is_versioned() else None
