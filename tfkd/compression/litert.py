"""A LiteRT file that answers the same calls as the Keras student it was made from.

The file holds one batch-1 signature for each text length; a text goes through the shortest one
that holds it. Needs no TensorFlow: of tfkd's packages only ai-edge-litert, lazy-loader and numpy,
for texts too when the student has a WordPiece vocabulary. What needs no tfkd either is the folder
of `tfkd export --format python`.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import ArrayLike

from tfkd import seals
from tfkd.compression.file_seal import check_seal
from tfkd.compression.saved_model import SIGNATURE_PREFIX
from tfkd.data.texts import GivenTexts, given_texts
from tfkd.errors import ArtifactError
from tfkd.keras_environment import settle_keras
from tfkd.models.description import DESCRIPTION_FILE, Description
from tfkd.models.wordpiece import WordPieceTokenizer
from tfkd.models.wordpiece_files import load_if_fast
from tfkd.quiet import native_stderr_hidden

if TYPE_CHECKING:
    from tfkd.models.tokenizers import Tokenizer

ENCODING_BATCH_SIZE = 64
# Set once a file was opened in this process.
_HAS_WRITTEN = threading.Event()


class LiteRTModel:
    """Predicts with a file written by `tfkd.compression.export.export`.

    One object is for one thread at a time: it owns a single interpreter.

    Args:
        path: Path. The `.tflite` file.
        tokenizer: `WordPieceTokenizer` or `Tokenizer`. Default: read from `tokenizer/` beside the
            file, when first needed.
        threads: Integer. Threads of one prediction.

    Raises:
        ArtifactError: The file is missing, was changed, is not a LiteRT file or has no
            `tokens_<length>` signature with logits.

    Example:

    ```python
    model = LiteRTModel("saved_models/demo/student/dynamic_int8.tflite")
    logits = model.predict(["Oil prices fell again."])  # float32, shape [1, num_outputs]
    ```
    """

    def __init__(
        self,
        path: Path | str,
        tokenizer: "WordPieceTokenizer | Tokenizer | None" = None,
        threads: int = 1,
    ) -> None:
        if threads < 1:
            raise ValueError(f"Expected `threads` of at least 1. Received: threads={threads}")
        self.path = Path(path)
        self._given_tokenizer = tokenizer
        self._tokenizer: WordPieceTokenizer | Tokenizer | None = None
        if self.path.is_file():
            check_seal(self.path)
        self._interpreter = open_interpreter(self.path, threads)
        self._runners = {
            int(name.removeprefix(SIGNATURE_PREFIX)): self._interpreter.get_signature_runner(name)
            for name in self._interpreter.get_signature_list()
            if name.startswith(SIGNATURE_PREFIX)
        }
        if not self._runners:
            raise ArtifactError(
                f"Expected a LiteRT file with signatures `{SIGNATURE_PREFIX}<length>`. Received: "
                f"{self.path}, which has none. Give a file written by `tfkd export`."
            )
        self.lengths = tuple(sorted(self._runners))
        self._signatures: dict[int, _Signature] = {}
        first = self._runners[self.lengths[0]]
        if "logits" not in first.get_output_details():
            raise ArtifactError(
                f"Expected a LiteRT file that gives logits. Received: {self.path}, which gives "
                f"{', '.join(first.get_output_details())}, as those for MediaPipe do. Write one "
                "with `tfkd export --format tokens`."
            )
        self.input_names = tuple(first.get_input_details())
        self.num_outputs = int(first.get_output_details()["logits"]["shape"][-1])

    @property
    def size_bytes(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size

    @property
    def tokenizer(self) -> "WordPieceTokenizer | Tokenizer":
        """The student's tokenizer, never longer than the file's longest signature.

        Without TensorFlow for a WordPiece vocabulary, and then without segment ids, too, when the
        file does not take them.

        Raises:
            ArtifactError: No tokenizer was given and there is none beside the file.
        """
        if self._tokenizer is None:
            tokenizer = self._given_tokenizer
            if tokenizer is None:
                tokenizer = _read_tokenizer(self.path.parent / "tokenizer")
            if tokenizer.sequence_length > self.lengths[-1]:
                tokenizer = tokenizer.with_length(self.lengths[-1])
            if "segment_ids" not in self.input_names and isinstance(tokenizer, WordPieceTokenizer):
                tokenizer = tokenizer.without_segments()
            self._tokenizer = tokenizer
        return self._tokenizer

    @functools.cached_property
    def num_texts(self) -> int | None:
        """1 for single texts, 2 for pairs; None if no `classifier.json` beside the file tells."""
        folder = self.path.parent
        return Description.read(folder).num_texts if (folder / DESCRIPTION_FILE).is_file() else None

    def encode(self, texts: GivenTexts, length: int | None = None) -> dict[str, np.ndarray]:
        """Token arrays of the texts, int32 `[n, length]`, only those the file takes."""
        arrays = self.tokenizer.encode(given_texts(texts, self.num_texts), length)
        return {name: arrays[name] for name in self.input_names}

    def predict(self, texts: GivenTexts) -> np.ndarray:
        """Logits of texts or pairs of texts: float32, shape `[n, num_outputs]`.

        Takes and refuses what `TextClassifier.predict` does.
        """
        texts = given_texts(texts, self.num_texts)
        if len(texts) == 1:
            # As in service: nothing but what one text needs.
            arrays = self.tokenizer.encode(texts, self.lengths)
            rows = [arrays[name] for name in self.input_names]
            return self._signature(rows[0].shape[1])(*rows)
        logits = np.zeros((len(texts), self.num_outputs), np.float32)
        for start in range(0, len(texts), ENCODING_BATCH_SIZE):
            batch = texts[start : start + ENCODING_BATCH_SIZE]
            logits[start : start + len(batch)] = self.predict_encoded(self.encode(batch))
        return logits

    def predict_encoded(
        self, arrays: Mapping[str, np.ndarray], length: int | None = None
    ) -> np.ndarray:
        """Logits of encoded texts, row by row.

        Args:
            arrays: Mapping of the file's inputs to integer arrays of shape `[n, width]`. Padding
                is masked, so it is cut or added freely to fit a signature.
            length: Integer. Use this signature. Default: for each row the shortest that holds it.

        Returns:
            float32 array of shape `[n, num_outputs]`.

        Raises:
            ValueError: An input is missing, a row is longer than the signature, or there is no
                signature of that length.
        """
        missing = [name for name in self.input_names if name not in arrays]
        if missing:
            raise ValueError(
                f"Expected arrays {', '.join(self.input_names)}. Received: {', '.join(arrays)}"
            )
        if length is not None and length not in self._runners:
            raise ValueError(f"Expected `length` in {self.lengths}. Received: length={length}")
        sizes = _real_lengths(np.asarray(arrays["padding_mask"]))
        self._check_sizes(sizes, length or self.lengths[-1])
        columns = [_widened(arrays[name], length or self.lengths[-1]) for name in self.input_names]
        logits = np.zeros((len(sizes), self.num_outputs), np.float32)
        fitting = np.searchsorted(self.lengths, sizes).tolist()
        for row, index in enumerate(fitting):
            chosen = length or self.lengths[index]
            rows = [values[row : row + 1, :chosen] for values in columns]
            logits[row] = self._signature(chosen)(*rows)
        return logits

    def _signature(self, length: int) -> "_Signature":
        """The signature of a length, ready to run; those never asked for take no memory."""
        if length not in self._signatures:
            runner = self._runners[length]
            self._signatures[length] = _prepared(runner, self.input_names, length)
        return self._signatures[length]

    @staticmethod
    def _check_sizes(sizes: np.ndarray, longest: int) -> None:
        for row in np.flatnonzero(sizes > longest)[:1]:
            raise ValueError(
                f"Expected rows of at most {longest} tokens. Received: row {row} with "
                f"{sizes[row]}. Cutting it here would lose its last special token: use `encode`."
            )


def _read_tokenizer(folder: Path) -> "WordPieceTokenizer | Tokenizer":
    # The folder may be a whole one of another model.
    seals.check_files(folder.parent / DESCRIPTION_FILE, f"{folder.name}/")
    tokenizer = load_if_fast(folder)
    if tokenizer is None:
        # Byte pairs need KerasHub, which takes seconds to import.
        settle_keras()
        from tfkd.models.tokenizers import Tokenizer

        return Tokenizer.load(folder)
    return tokenizer


def open_interpreter(path: Path, threads: int = 1) -> Interpreter:
    """LiteRT's own object for a file, ready to run.

    Raises:
        ArtifactError: The file is missing or is not a LiteRT file.
    """
    if not path.is_file():
        raise ArtifactError(
            f"Expected the LiteRT file {path}. It does not exist. Write it with `tfkd export`."
        )
    try:
        # LiteRT's C++ writes a line once a process, and no log level reaches it (2.3.0). Later
        # nothing is hidden: a server that reads a new file writes its log meanwhile.
        with contextlib.nullcontext() if _HAS_WRITTEN.is_set() else native_stderr_hidden():
            interpreter = Interpreter(str(path), num_threads=threads)
            interpreter.allocate_tensors()
            _HAS_WRITTEN.set()
    except (ValueError, RuntimeError) as error:
        raise ArtifactError(
            f"Expected a LiteRT file. Received: {path}, which cannot be read: {error}. Write it "
            "again with `tfkd export --overwrite`."
        ) from error
    return interpreter


def _real_lengths(padding_mask: np.ndarray) -> np.ndarray:
    """Position after the last real token of each row: `[n, width]` to `[n]`."""
    positions = np.arange(1, padding_mask.shape[1] + 1)
    return (positions * (padding_mask != 0)).max(axis=1, initial=0)


def _widened(values: ArrayLike, length: int) -> np.ndarray:
    """Rows as int32 `[n, length]` or wider: trailing padding is added."""
    columns = np.asarray(values, np.int32)
    if columns.shape[1] >= length:
        return columns
    widened = np.zeros((len(columns), length), np.int32)
    widened[:, : columns.shape[1]] = columns
    return widened


# Takes the inputs in the order of `input_names`, int32 `[1, length]`; gives logits `[1, outputs]`.
_Signature = Callable[..., np.ndarray]


def _prepared(runner: Any, names: Sequence[str], length: int) -> _Signature:
    """A signature whose tensors are found and allocated once, where LiteRT can do that.

    Its own runner shapes and allocates all tensors again on every call, which takes a small CNN
    half as long as the answer.
    """
    try:
        wrapper, graph = runner._interpreter_wrapper, runner._subgraph_index
        set_tensor, invoke, get_tensor = wrapper.SetTensor, wrapper.Invoke, wrapper.GetTensor
    except AttributeError:
        # Another release of LiteRT.
        return lambda *rows: runner(**dict(zip(names, rows, strict=True)))["logits"]
    runner(**{name: np.zeros((1, length), np.int32) for name in names})
    details = runner.get_input_details()
    inputs = [details[name]["index"] for name in names]
    output = runner.get_output_details()["logits"]["index"]

    def answer(*rows: np.ndarray) -> np.ndarray:
        for index, row in zip(inputs, rows, strict=True):
            set_tensor(index, row, graph)
        invoke(graph)
        return get_tensor(output, graph)

    return answer
