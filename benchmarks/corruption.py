r"""Is a damaged file ever followed without a word?

    python benchmarks/corruption.py --output results/corruption.json
    python benchmarks/corruption.py --render results/corruption.json

Distils a small student of the demo set, then damages every file of the run, of its teacher and of
the cache in every way of `mutants`, one at a time, and asks what reads the file. A mutant is
harmless when the answer is the same; any other must end in one line that names the file.
"""

import collections
import copy
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from corruption_targets import ALONE, AWARE, Target, targets

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.compression import flatbuffer
from tfkd.config.training import DistillConfig
from tfkd.config.verbs import StudyConfig
from tfkd.errors import TfkdError
from tfkd.evaluation.table import Table, figures, words
from tfkd.workflows.distill import distill
from tfkd.workflows.study import study

SAME, REFUSED, ANEW = "same answer", "refused by name", "made anew by name"
OTHER, NAMELESS, TRACEBACK = "other answer", "refused without a name", "traceback"
FINGERPRINT = "<fingerprint>"
OUTCOMES = (SAME, REFUSED, ANEW, OTHER, NAMELESS, TRACEBACK)
RIGHT = (SAME, REFUSED, ANEW)
STUDY = """
seeds = [0]
timed_texts = 5
[settings]
augmented_copies = 0
max_train_rows = 300
epochs = 1
[teachers.cnn]
model = "cnn_small"
epochs = 1
[students.cnn_small]
[datasets.demo]
"""
SHAPES = ("null", "3", '"x"', "[]", "{}", "[" * 100_000, '{"a": ' + "7" * 5000 + "}", "\udcff")


def mutants(path: Path, siblings: list[Path]) -> Iterator[tuple[str, bytes | None]]:
    """The ways a file can be damaged: a name, and the bytes that take its place.

    Args:
        path: Path.
        siblings: Paths of files of the same kind, which may be put in its place.
    """
    content = path.read_bytes()
    size, random = len(content), np.random.default_rng(size_seed(path))
    yield "missing", None
    yield "empty", b""
    for kept in (size // 2, size - 1, size - 7):
        yield f"cut to {kept}", content[:kept]
    yield "bytes behind", content + b"\0\n"
    yield "reversed", content[::-1]
    yield "halves changed over", content[size // 2 :] + content[: size // 2]
    yield "zeros", content[: size // 3] + bytes(size // 4) + content[size // 3 + size // 4 :]
    for place in random.integers(0, size, 6).tolist():
        flipped = bytes([content[place] ^ 1 << int(random.integers(8))])
        yield f"bit at {place}", content[:place] + flipped + content[place + 1 :]
    for sibling in siblings:
        if sibling.read_bytes() != content:
            yield f"that of {sibling.parent.name}/{sibling.name}", sibling.read_bytes()
    kinds = {".json": _json_mutants, ".npy": _array_mutants, ".npz": _array_mutants}
    kinds |= {".tflite": _tflite_mutants}
    if path.suffix in kinds:
        yield from kinds[path.suffix](path)
    if path.suffix in (".json", ".txt"):
        yield from _line_mutants(content.splitlines(keepends=True), random)


def size_seed(path: Path) -> int:
    """A seed that is the same whenever the file is."""
    return sum(path.read_bytes()[:1000]) + path.stat().st_size


def _line_mutants(
    lines: list[bytes], random: np.random.Generator
) -> Iterator[tuple[str, bytes | None]]:
    for row in sorted(set(random.integers(0, len(lines), 3).tolist())):
        yield f"line {row} lost", b"".join(lines[:row] + lines[row + 1 :])
        yield f"line {row} twice", b"".join(lines[: row + 1] + lines[row:])
        swapped = [*lines[:row], lines[-1], *lines[row + 1 : -1], lines[row]]
        yield f"line {row} and the last changed over", b"".join(swapped)
    yield "lines reversed", b"".join(lines[::-1])


def _json_mutants(path: Path) -> Iterator[tuple[str, bytes | None]]:
    for shape in SHAPES:
        yield f"only {shape[:9]}", shape.encode("utf-8", "surrogateescape")
    content = json.loads(path.read_text(encoding="utf-8"))
    for place in list(_places(content)):
        if place[0] == "seal":
            continue
        changed = copy.deepcopy(content)
        inner = changed
        for key in place[:-1]:
            inner = inner[key]
        value = inner[place[-1]]
        if isinstance(value, list):
            inner[place[-1]] = value[::-1] if len(value) > 1 else [*value, "more"]
        elif isinstance(value, dict):
            del inner[place[-1]]
        elif isinstance(value, bool) or value is None:
            inner[place[-1]] = not value
        else:
            inner[place[-1]] = value + ("x" if isinstance(value, str) else 1)
        yield f"another {'/'.join(map(str, place))}", json.dumps(changed, indent=2).encode()


def _places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if not isinstance(value, dict | list):
        return
    for key in list(value if isinstance(value, dict) else range(len(value)))[:40]:
        yield (*above, key)
        if len(above) < 2:
            yield from _places(value[key], (*above, key))


def _array_mutants(path: Path) -> Iterator[tuple[str, bytes | None]]:
    """Other arrays in files that are whole."""
    loaded = np.load(path)
    arrays = {"": loaded} if path.suffix == ".npy" else dict(loaded)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / path.name
        for name, array in list(arrays.items())[:4]:
            # A number, as QAT's steps are, has no order.
            turned = (("reversed", array[::-1]),) if array.ndim else ()
            for kind, changed in (*turned, ("plus one", array + 1)):
                if path.suffix == ".npy":
                    np.save(made, changed)
                else:
                    np.savez(made, **{**arrays, name: changed})
                yield f"{name} {kind}", made.read_bytes()


def _tflite_mutants(path: Path) -> Iterator[tuple[str, bytes | None]]:
    """Rows of constants reversed in place, and the whole file written anew with them."""
    content = path.read_bytes()
    model = flatbuffer.read(content)
    for graph in model.subgraphs[:1]:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            if data is None or tensor.shape is None or not len(tensor.shape) or len(data) < 8:
                continue
            original = bytes(data)
            rows = np.frombuffer(original, np.uint8).reshape(int(tensor.shape[0]), -1)
            turned = rows[::-1].tobytes()
            if turned == original or content.count(original) != 1:
                continue
            yield f"rows of {tensor.name.decode()[-20:]}", content.replace(original, turned)
            model.buffers[tensor.buffer].data = turned
            yield f"anew with rows of {tensor.name.decode()[-20:]}", flatbuffer.write(model)
            model.buffers[tensor.buffer].data = original


def outcome(target: Target, path: Path, content: bytes | None, expected: Any) -> str:
    """What a mutant leads to; the file is there again afterwards."""
    original, told = path.read_bytes(), []
    try:
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        answer = target.read(told.append)
        # Nothing is told of a backup that is not there: so is every first start.
        is_first = answer is None and content is None
        if is_first or any(_names(line, path) for line in told):
            return ANEW if answer in (None, expected) else OTHER
        return SAME if answer == expected else OTHER
    except TfkdError as error:
        return REFUSED if _names(str(error), path) else NAMELESS
    except Exception as error:
        click.echo(f"{path}: {type(error).__name__}: {error}"[:300], err=True)
        return TRACEBACK
    finally:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(original)


def _names(line: str, path: Path) -> bool:
    """Whether a line names a file; a whole record of another model shows in what it vouches for."""
    names = {path.name}
    if path.suffix == ".json":
        names |= {file.name for file in path.parent.rglob("*")}
    return str(path.parent) in line and any(name in line for name in names) and "\n" not in line


def survey(
    run: RunFolder,
    recipes: tuple[str, ...],
    most: int | None = None,
    study: Path | None = None,
) -> dict[str, dict[str, int]]:
    """Counts of outcomes for every reader and kind of file, "predict: model.keras" and so on.

    Args:
        run: `RunFolder` of a finished distillation, in a folder of its own with its teacher.
        recipes: Strings. Its LiteRT files.
        most: Integer. Mutants of a file; the others are left out by chance. Default: all.
        study: Path of a finished study's folder, if there is one.
    """
    counts: dict[str, dict[str, int]] = {}
    for target in targets(run, recipes, study):
        expected = target.read(lambda line: None)
        for path in target.files:
            siblings = [
                other
                for other in run.path.parent.rglob(f"*{path.suffix}")
                if other != path and (other.name == path.name or path.suffix in (".tflite", ".npy"))
                # Without a folder, a whole file of another recipe is as good.
                if target.name != ALONE
            ]
            made = list(mutants(path, siblings))
            if most is not None and len(made) > most:
                chosen = np.random.default_rng(size_seed(path)).permutation(len(made))[:most]
                made = [made[index] for index in sorted(chosen)]
            # The same for all seeds and fingerprints, of folders and files.
            key = f"{target.name}: {re.sub('[0-9a-f]{16}', FINGERPRINT, path.name)}"
            row = counts.setdefault(key, dict.fromkeys(OUTCOMES, 0))
            for name, content in made:
                found = outcome(target, path, content, expected)
                row[found] += 1
                if found not in RIGHT:
                    click.echo(f"{found}: {key}: {name}", err=True)
    return counts


def render(counts: dict[str, dict[str, int]]) -> Table:
    """One line for every reader and file, and their sum."""
    total = collections.Counter[str]()
    for row in counts.values():
        total.update(row)
    rows = {**counts, "all": dict(total)}
    columns = [figures(name, [row[name] for row in rows.values()], "{:d}") for name in OUTCOMES]
    return Table([words("Read by: file", list(rows)), *columns])


def made_study(folder: Path) -> Path:
    """The folder of a small study."""
    form = folder / "small.toml"
    form.write_text(STUDY, encoding="utf-8")
    study(StudyConfig(study=form, output_dir=folder / "study", quiet=True))
    return folder / "study"


@click.command()
@click.option("--output", type=click.Path(path_type=Path), help="JSON file of the counts.")
@click.option("--render", "rendered", type=click.Path(path_type=Path), help="Show such a file.")
@click.option("--most", type=int, help="Mutants of a file. Default: all.")
def main(output: Path | None, rendered: Path | None, most: int | None) -> None:
    """Damages every file of a run and counts what is noticed."""
    if rendered is not None:
        click.echo(render(artifacts.read_json(rendered)).markdown())
        return
    recipes = ("float32", "dynamic_int8", AWARE)
    with tempfile.TemporaryDirectory() as folder:
        config = DistillConfig(
            dataset="demo",
            output_dir=Path(folder) / "saved" / "run",
            teacher="cnn_small",
            student="cnn_small",
            teacher_epochs=1,
            epochs=1,
            max_train_rows=300,
            augmented_copies=0,
            recipes=recipes,
            timing=False,
            quiet=True,
        )
        distill(config)
        counts = survey(
            RunFolder(config.output_dir or Path()), recipes, most, made_study(Path(folder))
        )
    if output is not None:
        artifacts.write_json(output, counts)
    click.echo(render(counts).markdown())
    sys.exit(any(row[name] for row in counts.values() for name in OUTCOMES if name not in RIGHT))


if __name__ == "__main__":
    main()
