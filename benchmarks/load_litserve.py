"""The other server of the load test: LitServe with the LiteRT file and tokenizer that tfkd serves.

    python benchmarks/load_litserve.py PORT saved_models/ag_news-bert_tiny/model/dynamic_int8.tflite

One process for the model and one for HTTP, as LitServe has it, with as many texts a batch as
`tfkd serve` takes.
`pip install litserve` in an environment of its own, beside tfkd: benchmarks/load.py starts it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import litserve
from scipy.special import softmax

from tfkd.compression.litert import LiteRTModel
from tfkd.models.description import Description
from tfkd.quiet import quiet_libraries

BATCH_SIZE = 32
# LitServe takes what has come in this time.
BATCH_SECONDS = 0.005


class Classifier(litserve.LitAPI):
    """Answers `{"text": ...}` with label and scores, several texts a call of the model."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            max_batch_size=BATCH_SIZE, batch_timeout=BATCH_SECONDS, api_path="/predict"
        )
        self._path = path

    def setup(self, device: str) -> None:
        """Loads the model in the process that asks it."""
        self._label_names = Description.read(self._path.parent).label_names
        self._model = LiteRTModel(self._path)

    def decode_request(self, request: dict[str, str]) -> str:
        """The text of a request."""
        return request["text"]

    def batch(self, inputs: Sequence[str]) -> list[str]:
        """The texts as the model takes them."""
        return list(inputs)

    def predict(self, texts: Sequence[str]) -> list[Any]:
        """Scores of each text."""
        return list(softmax(self._model.predict(texts), axis=1))

    def unbatch(self, output: list[Any]) -> list[Any]:
        """One answer a text."""
        return output

    def encode_response(self, scores: Any) -> dict[str, object]:
        """The answer to a text."""
        return {"label": self._label_names[int(scores.argmax())], "scores": scores.tolist()}


def main(port: str, path: str) -> None:
    """Serves on the loopback address."""
    quiet_libraries()
    server = litserve.LitServer(Classifier(Path(path)), accelerator="cpu", workers_per_device=1)
    server.run("127.0.0.1", int(port), log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
