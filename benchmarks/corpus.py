"""A corpus labelled by a loop and through Ray, with a worker and the driver killed.

    python benchmarks/corpus.py RUN --output results/corpus.json
    python benchmarks/corpus.py --render results/corpus.json

The texts are those of ag_news' train, repeated, in files of 10,000 rows. The loop labels 50,000 and
all of them; Ray, on this machine, 50,000 undisturbed and all with one worker killed, the driver
killed, and the command started again. Every part is compared with the loop's. Memory is the peak of
a process' own (VmHWM); processor time is that of all processes together, since a busy machine
changes it less than the clock. Ray gets a network namespace of its own, which needs root.
"""

import argparse
import csv
import importlib.metadata
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import pyarrow.parquet

from tfkd import artifacts
from tfkd.data.sources import load_texts
from tfkd.process import num_cores

MARK = "TFKD_BENCHMARK_MARK"
FILE_ROWS = 10_000
NAMESPACE = ("unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")
TICK = os.sysconf("SC_CLK_TCK")
PAUSE = 0.5


class Watched:
    """A command whose processes are looked at until its end, however many there are."""

    def __init__(self, *arguments: object, apart: bool = False) -> None:
        self._mark = f"{MARK}={uuid.uuid4().hex}"
        name, _, value = self._mark.partition("=")
        line = [*(NAMESPACE if apart else ()), sys.executable, "-m", "tfkd", *map(str, arguments)]
        # Ray's workers would come after all else that the machine has to do.
        ray = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
        variables = {**os.environ, name: value, **ray}
        self.process = subprocess.Popen(line, env=variables, stdout=subprocess.PIPE)
        self.memory: dict[str, int] = {}
        self._ticks: dict[int, int] = {}
        threading.Thread(target=self._watch, daemon=True).start()

    def living(self) -> dict[int, str]:
        """Its processes now: what each is."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self._mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = self._kind((folder / "cmdline").read_bytes())
            except OSError:
                continue
        return found

    @staticmethod
    def _kind(line: bytes) -> str:
        if line.startswith(b"ray::MapWorker"):
            return "worker"
        return "driver" if b"\0tfkd\0" in line and not line.startswith(b"unshare") else "other"

    def _watch(self) -> None:
        while self.process.poll() is None or self.living():
            for number, kind in self.living().items():
                try:
                    status = Path(f"/proc/{number}/status").read_text()
                    fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                peak = status.partition("VmHWM:")[2].split()
                if peak:
                    self.memory[kind] = max(self.memory.get(kind, 0), int(peak[0]) * 1024)
                self._ticks[number] = int(fields[11]) + int(fields[12])
            time.sleep(PAUSE)

    def figures(self) -> dict[str, object]:
        """What the command came to, once it has ended."""
        said = self.process.communicate()[0]
        if self.process.returncode:
            raise SystemExit(f"a command ended with {self.process.returncode}")
        found = json.loads(said)
        return {
            "rows_made": round(found["rows_a_second"] * found["seconds"]),
            "seconds": round(found["seconds"], 1),
            "rows_a_second": round(found["rows_a_second"]),
            "processor_seconds": round(sum(self._ticks.values()) / TICK, 1),
            "peak_mb": {kind: round(size / 1e6) for kind, size in sorted(self.memory.items())},
        }


def write_texts(folder: Path, dataset: str, rows: int) -> None:
    """Tables with texts of a data set, repeated."""
    folder.mkdir()
    texts = itertools.cycle(row.texts[0] for row in load_texts(dataset).splits["train"])
    for number in range(0, rows, FILE_ROWS):
        path = folder / f"texts-{number // FILE_ROWS:03d}.csv"
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text"])
            count = min(FILE_ROWS, rows - number)
            writer.writerows([text] for text in itertools.islice(texts, count))


def parts(folder: Path) -> list[Path]:
    """The parts that are there."""
    return sorted(folder.glob("part-*.parquet"))


def until(folder: Path, count: int, command: Watched) -> None:
    """Waits until a command has made so many parts."""
    while len(parts(folder)) < count:
        if command.process.poll() is not None:
            raise SystemExit(f"a command ended with {command.process.returncode}")
        time.sleep(PAUSE)


def with_kills(arguments: tuple[object, ...], folder: Path) -> tuple[dict, dict]:
    """A run whose worker is killed, then its driver, and that is started again."""
    first = Watched(*arguments, apart=True)
    until(folder, 3, first)
    worker = next(number for number, kind in first.living().items() if kind == "worker")
    os.kill(worker, signal.SIGKILL)
    at_worker = len(parts(folder))
    until(folder, at_worker + 4, first)
    first.process.kill()
    first.process.wait()
    while first.living():
        time.sleep(PAUSE)
    kills = {"parts_at_worker": at_worker, "parts_at_driver": len(parts(folder))}
    return Watched(*arguments, apart=True).figures(), kills


def compared(found: Path, local: Path) -> dict[str, int]:
    """Rows of two results by their ids."""
    rows = [
        {row["id"]: row for row in pyarrow.parquet.read_table(folder).to_pylist()}
        for folder in (found, local)
    ]
    count = pyarrow.parquet.read_table(found, columns=["id"]).num_rows
    return {
        "rows": count,
        "missing": len(rows[1].keys() - rows[0].keys()),
        "double": count - len(rows[0]),
        "different": sum(rows[0].get(name) != row for name, row in rows[1].items()),
    }


def measured(run: Path, dataset: str, few: int, many: int) -> dict[str, object]:
    """All figures."""
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for rows in (few, many):
            write_texts(place / f"texts{rows}", dataset, rows)

        def command(rows: int, output: str, *more: str) -> tuple[object, ...]:
            corpus = ("predict", run, "--input", place / f"texts{rows}")
            return (*corpus, "--output", place / output, "--quiet", "--json", *more)

        for rows in (few, many):
            found[f"loop_{rows}"] = Watched(*command(rows, f"loop{rows}")).figures()
        ray = ("--ray", "local")
        found[f"ray_{few}"] = Watched(*command(few, "ray", *ray), apart=True).figures()
        arguments = command(many, "killed", *ray)
        found[f"ray_{many}_restarted"], found["kills"] = with_kills(arguments, place / "killed")
        found["compared"] = compared(place / "killed", place / f"loop{many}")
    versions = {**artifacts.versions(), "ray": importlib.metadata.version("ray")}
    return found | {"run": run.name, "cores": num_cores(), "versions": versions}


def markdown(found: dict) -> str:
    """The table of docs/scale.md."""
    lines = [
        "| | rows | rows a second | processor time of 10,000 rows, s | peak of the driver, MB "
        "| of a worker, MB |",
        "| :--- | ---: | ---: | ---: | ---: | ---: |",
    ]
    names = {"loop": "loop", "ray": "Ray"}
    for key, row in found.items():
        kind, _, rest = key.partition("_")
        if kind not in names:
            continue
        again = ", started again" if rest.endswith("restarted") else ""
        seconds = row["processor_seconds"] / row["rows_made"] * 10_000
        peak = row["peak_mb"]
        lines.append(
            f"| {names[kind]}, {int(rest.split('_')[0]):,} rows{again} | {row['rows_made']:,} | "
            f"{row['rows_a_second']:,} | {seconds:.1f} | {peak['driver']} | "
            f"{peak.get('worker', '-')} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures, or shows what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--dataset", default="ag_news")
    parser.add_argument("--rows", type=int, nargs=2, default=(50_000, 200_000))
    parser.add_argument("--output", type=Path)
    parser.add_argument("--render", type=Path)
    given = parser.parse_args()
    if given.render:
        sys.stdout.write(markdown(artifacts.read_json(given.render)))
        return
    found = measured(given.run, given.dataset, *given.rows)
    found["command"] = f"python benchmarks/corpus.py {given.run.name}"
    artifacts.write_json(given.output, found)
    sys.stdout.write(markdown(found))


if __name__ == "__main__":
    main()
