r"""What an answer takes: megabytes installed and seconds to the first one, client by client.

    python benchmarks/clients.py saved_models/ag_news-bert_tiny --output results/clients.json

Each client gets an environment of its own, made anew: tfkd with TensorFlow, the folder of `--format
python`, that of `--format onnx`; the folder of `--format web` gets what npm brings and runs in
Chromium, where both are there. None but the first sees tfkd. All answer the same texts of the run's
test split, and their labels are held against those that tfkd gets from the same file. Needs
`tfkd[onnx]`, and playwright for the browser; `--clients` takes some of them only.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from tfkd.artifacts import RunFolder, versions, write_json
from tfkd.compression.kit_model import KitModel
from tfkd.compression.litert import LiteRTModel
from tfkd.evaluation.table import Table, figures, words
from tfkd.models.classifier import TextClassifier
from tfkd.quiet import quiet_libraries
from tfkd.runs.material import first_texts
from tfkd.runs.own_data import own_dataset
from tfkd.workflows.export import export

ROOT = Path(__file__).parents[1]
RECIPE = "dynamic_int8"
NUM_TEXTS = 500
KERAS, LITERT, PYTHON, ONNX, WEB = "keras", "litert", "python", "onnx", "web"
NAMES = {
    KERAS: "tfkd with TensorFlow, the Keras model",
    LITERT: "tfkd, `LiteRTModel`, which loads no TensorFlow",
    PYTHON: "the folder of `--format python`, LiteRT",
    ONNX: "the folder of `--format onnx`, ONNX Runtime",
    WEB: "the folder of `--format web`, Chromium",
}
# Each reads a job from standard input, answers its first text, then all of them. The line on which
# the model is opened differs.
PROGRAM = """
import importlib.util, json, sys, time
job = json.load(sys.stdin)
{opening}
answer(job["texts"][:1])
print(json.dumps(time.process_time()), flush=True)
seen = [name for name in ("tfkd", "tensorflow") if importlib.util.find_spec(name)]
print(json.dumps([answer(job["texts"]), seen]))
"""
OPENINGS = {
    KERAS: "from tfkd import TextClassifier\n"
    "model = TextClassifier.load(job['folder'])\n"
    "def answer(texts): return model.predict(texts).argmax(axis=1).tolist()",
    LITERT: "from tfkd import LiteRTModel\n"
    "model = LiteRTModel(job['folder'] + '/dynamic_int8.tflite')\n"
    "def answer(texts): return model.predict(texts).argmax(axis=1).tolist()",
}
OPENINGS[PYTHON] = OPENINGS[ONNX] = (
    "sys.path.insert(0, job['folder'])\n"
    "from text_classifier import TextClassifier\n"
    "model = TextClassifier()\n"
    "def answer(texts):\n"
    "    return [model.label_names.index(row['label']) for row in model.predict(texts)]"
)


def main() -> int:
    """Makes the environments, asks every client; 1 when a label differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("run", type=Path, help="finished run of a data set with one label a text")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--clients", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--starts", type=int, default=3, help="the median of so many is told")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    quiet_libraries()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for client in measured(arguments, Path(folder)):
            print(json.dumps(client), flush=True)
            rows.append(client)
    found = {"run": arguments.run.name, "recipe": RECIPE, "rows": rows, "versions": versions()}
    if arguments.output is not None:
        write_json(arguments.output, found)
    print(markdown(found))
    return int(any(row["same_labels"] != row["texts"] for row in rows))


def measured(arguments: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """A row for each client that there is."""
    run = RunFolder(arguments.run)
    rows = own_dataset(run, arguments.data_dir).splits["test"]
    texts = list(first_texts(rows, NUM_TEXTS))
    places = {KERAS: run.model.resolve(), LITERT: run.model.resolve()}
    if LITERT in arguments.clients and not (run.model / f"{RECIPE}.tflite").is_file():
        export(run=run.path, data_dir=arguments.data_dir, recipes=(RECIPE,))
    for name in (PYTHON, ONNX, WEB):
        if name in arguments.clients:
            places[name] = folder / f"{name}-{RECIPE}"
            export(run=run.path, data_dir=arguments.data_dir, output_dir=folder, format=name)
    made: dict[str, Path] = {}
    for name in arguments.clients:
        expected = expected_labels(name, places[name], texts)
        if name == WEB:
            found = in_browser(places[name], texts, arguments.starts)
            if found is None:
                continue
        else:
            wanted = "tfkd" if name in (KERAS, LITERT) else name
            if wanted not in made:
                made[wanted] = new_environment(folder / f"{wanted}-environment", places[name])
            python = made[wanted] / "bin" / "python"
            found = asked([str(python), "-I"], name, places[name], texts, arguments.starts)
            found["installed_bytes"] = size(made[wanted])
        labels = found.pop("labels")
        same = int(np.sum(np.array(labels) == expected))
        yield {"client": name, **found, "texts": len(texts), "same_labels": same}


def expected_labels(name: str, folder: Path, texts: Sequence[str]) -> np.ndarray:
    """What tfkd gets from the same file."""
    if name == KERAS:
        return TextClassifier.load(folder).predict(texts).argmax(axis=1)
    model = LiteRTModel(folder / f"{RECIPE}.tflite") if name == LITERT else KitModel(folder)
    return model.predict(texts).argmax(axis=1)


def new_environment(folder: Path, kit: Path) -> Path:
    """A virtual environment of what a folder asks for; of tfkd where it asks for nothing."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    requirements = kit / "requirements.txt"
    wanted = ["-r", str(requirements)] if requirements.is_file() else [str(ROOT)]
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), *wanted], check=True)
    return folder


def size(folder: Path) -> int:
    """Bytes of the files in a folder, links aside."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files)


def asked(
    command: Sequence[str], name: str, folder: Path, texts: Sequence[str], starts: int
) -> dict[str, Any]:
    """Seconds to the first answer, and all labels, of a client in a process of its own."""
    job = json.dumps({"folder": str(folder), "texts": list(texts)})
    program, seconds, processor = PROGRAM.format(opening=OPENINGS[name]), [], []
    for _ in range(starts):
        started_at = time.perf_counter()
        with subprocess.Popen(
            [*command, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=folder,
        ) as process:
            process.stdin.write(job)
            process.stdin.close()
            first = process.stdout.readline()
            seconds.append(time.perf_counter() - started_at)
            rest = process.stdout.read()
        if process.returncode:
            raise SystemExit(f"{NAMES[name]} ended with {process.returncode}.")
        processor.append(json.loads(first))
        labels, seen = json.loads(rest)
    return {
        "seconds": float(np.median(seconds)),
        "processor_seconds": float(np.median(processor)),
        "labels": labels,
        "sees": seen,
    }


def in_browser(folder: Path, texts: Sequence[str], starts: int) -> dict[str, Any] | None:
    """The same of a page in Chromium, or None where that or npm is not there."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if chromium is None or shutil.which("npm") is None:
        print("no Chromium or no npm: the browser is left out", file=sys.stderr)
        return None
    from playwright.sync_api import sync_playwright

    subprocess.run(["npm", "install", "--silent"], cwd=folder, check=True)
    names = json.loads((folder / "settings.json").read_text(encoding="utf-8"))["label_names"]
    seconds = []
    with served(folder) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(starts):
            # A new context has nothing in its cache.
            page = browser.new_context().new_page()
            started_at = time.perf_counter()
            page.goto(address)
            page.wait_for_selector("body[data-ready]", state="attached")
            page.evaluate("text => classifier.predict(text)", texts[0])
            seconds.append(time.perf_counter() - started_at)
        ask = "async texts => { const found = []; for (const text of texts) "
        ask += "found.push((await classifier.predict(text)).labels[0]); return found; }"
        labels = [names.index(label) for label in page.evaluate(ask, list(texts))]
        browser.close()
    return {
        "seconds": float(np.median(seconds)),
        "processor_seconds": None,
        "labels": labels,
        "sees": [],
        "installed_bytes": size(folder / "node_modules"),
    }


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A server of static files on the loopback address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            """Nothing: the table is all that is printed."""

    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def markdown(found: Mapping[str, Any]) -> str:
    """The table."""
    rows = found["rows"]
    table = Table(
        [
            words("Client", [NAMES[row["client"]] for row in rows]),
            figures("Installed, MB", [row["installed_bytes"] / 1e6 for row in rows], "{:,.0f}"),
            figures("First answer, s", [row["seconds"] for row in rows], "{:.2f}"),
            figures("of them processor", [row["processor_seconds"] for row in rows], "{:.2f}"),
            figures(
                "Labels as in tfkd", [f"{row['same_labels']} of {row['texts']}" for row in rows]
            ),
        ]
    )
    return (
        f"{table.markdown()}\n\n{found['run']}, {found['recipe']} (Keras: float32). MB: 10^6 bytes "
        "of the environment's files, pip included; of the web the folder's node_modules. First "
        "answer: a fresh process with all imports, of the web a page in a browser that is open."
    )


if __name__ == "__main__":
    sys.exit(main())
