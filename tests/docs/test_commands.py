"""Pages whose commands need no network, run from top to bottom as a reader would.

A block that begins with `$ ` holds commands and what they print, shortened. Figures and verdicts
may differ from machine to machine; a line of the page has to have a like among those printed.
"""

import difflib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/from_keras_distillation.md", "docs/tutorial.md")
# A published encoder, which the page fetches, lies in a folder here.
FROM_A_HUB = "hf://sentence-transformers/all-MiniLM-L6-v2"
MOST_SECONDS = 1800


def sessions(page: str) -> list[tuple[str, list[str]]]:
    """Each command of a page with the lines below it."""
    found = []
    for block in re.findall(r"^```\n(\$ .*?)^```", page, re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, *lines = part.splitlines()
            found.append((command, [line for line in lines if line.strip()]))
    return found


def programs(page: str) -> dict[str, str]:
    """Programs of a page by their names, which their first lines may say."""
    found: dict[str, list[str]] = {}
    for block in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S):
        named = re.match(r"# (\w+\.py)\n", block)
        found.setdefault(named[1] if named else "compare.py", []).append(block)
    return {name: "\n\n".join(blocks) for name, blocks in found.items()}


def alike(line: str, other: str) -> bool:
    """Whether half of the words are the same and in the same order; all numbers are equal."""
    first, second = (re.sub(r"\d[\d.,e-]*", "0", text).split() for text in (line, other))
    return difflib.SequenceMatcher(None, first, second).ratio() >= 0.5


@pytest.mark.parametrize(
    ("line", "other", "expected"),
    [
        ("business\t0.8571", "health\t0.51", True),
        (
            "student is better than its control by 8.6 points",
            "student is worse than its control by 1 point",
            True,
        ),
        (
            "The model (Accuracy 0.9225) stands 1.80 points below",
            "Traceback (most recent call last):",
            False,
        ),
    ],
)
def test_lines_of_a_kind(line, other, expected):
    assert alike(line, other) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_commands_of_a_page(name, tmp_path):
    page = (ROOT / name).read_text(encoding="utf-8")
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    models = os.environ.get("TFKD_MODEL_DIR")
    if FROM_A_HUB in "".join(command for command, _ in sessions(page)) and not models:
        pytest.skip(f"needs TFKD_MODEL_DIR with {FROM_A_HUB}")
    for program, text in programs(page).items():
        (tmp_path / program).write_text(text, encoding="utf-8")
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": paths, "PYTHONPATH": str(ROOT)}
    commands = sessions(page)
    assert commands
    for command, lines in commands:
        ended = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
        )
        assert ended.returncode == 0, ended.stderr[-2000:]
        printed = (ended.stdout + ended.stderr).splitlines()
        for line in lines:
            assert any(alike(line, other) for other in printed), f"{command}: {line}"
