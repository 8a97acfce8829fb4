"""`tfkd doctor`: what decides whether a run works here, and how fast."""

import dataclasses
import importlib.metadata
import os
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from huggingface_hub.constants import HF_HUB_OFFLINE

from tfkd.artifacts import versions
from tfkd.config.verbs import DoctorConfig
from tfkd.data.sources import found_by_name
from tfkd.errors import DatasetError
from tfkd.evaluation.table import Shown
from tfkd.locks import CACHE
from tfkd.models.hub import HOSTS, MODEL_DIR
from tfkd.network import is_reachable
from tfkd.process import has_bfloat16, num_cores
from tfkd.progress import Progress
from tfkd.runs.settings import settings_of

INSTEAD = f"{MODEL_DIR}, models fetched before, local folders, size words"


@dataclasses.dataclass(frozen=True, repr=False)
class DoctorResult(Shown):
    """What was found.

    Attributes:
        facts: JSON values by name.
        problem: Why no run can work, a sentence; "" when runs can.
    """

    facts: dict[str, Any]
    problem: str

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {**self.facts, "problem": self.problem}

    def render(self) -> list[str]:
        """A line a fact."""
        return [f"{name.replace('_', ' ')}: {_told(value)}" for name, value in self.facts.items()]


def doctor(
    config: DoctorConfig | Path | str | None = None, progress: Progress | None = None, **given: Any
) -> DoctorResult:
    """Looks at packages, processor, memory, disk, data sets, models and hubs; loads no TensorFlow.

    Args:
        config: `DoctorConfig`, or the folder of runs.
        progress: `Progress`; has nothing to show.
        **given: The settings as keywords instead.

    Example:

    ```python
    tfkd.doctor(offline=True).facts["cores"]  # 2
    ```
    """
    config = settings_of(DoctorConfig, config, given)
    folder = config.folder.absolute()
    place = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    facts: dict[str, Any] = {"versions": versions()}
    for extra in ("edge", "onnx", "ray", "serve"):
        missing = _missing(extra)
        advice = f"no {', no '.join(missing)}: pip install 'tfkd[{extra}]'"
        facts[f"extra_{extra}"] = advice if missing else "there"
    facts["cores"] = num_cores()
    facts["precision_auto"] = "bfloat16" if has_bfloat16() else "float32, no bfloat16 here"
    facts["free_memory_mb"] = _free_memory_mb()
    facts["free_disk_mb"] = shutil.disk_usage(place).free // 10**6
    facts["used_mb"] = _used_mb(folder)
    try:
        facts["data_sets"] = found_by_name(config.data_dir)
    except DatasetError as error:
        facts["data_sets"] = str(error)
    if own := os.environ.get(MODEL_DIR):
        folders = sorted(Path(own).expanduser().glob("*/*/"))
        facts["models"] = {own: ["/".join(path.parts[-2:]) for path in folders]}
    hosts = [] if config.offline or HF_HUB_OFFLINE else list(HOSTS.values())
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(is_reachable, hosts))
    facts["hubs"] = dict(zip(hosts, answers, strict=True)) or "not asked"
    if not all(answers) or not hosts:
        facts["without_hubs"] = INSTEAD
    return DoctorResult(facts, _problem(place))


def _problem(place: Path) -> str:
    """Why no run can work."""
    if missing := _missing(""):
        return (
            f"Expected all packages of tfkd. Received: no {', no '.join(missing)}. Install them "
            "with `pip install tfkd`."
        )
    try:
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        return (
            f"Expected a folder that runs can be written to. Received: {place}: {error.strerror}. "
            "Give another."
        )
    return ""


def _missing(extra: str) -> list[str]:
    """Packages that tfkd, or an extra of it, asks for and that are not there."""
    asked, missing = ["tfkd"], []
    for name in asked:
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
            continue
        for line in (found.requires or []) if name == "tfkd" else []:
            if "".join(re.findall(r"extra == .(\w+)", line)) == extra:
                asked += re.findall(r"^[\w.-]+", line)
    return missing


def _free_memory_mb() -> int | None:
    """Of the machine, where it tells."""
    path = Path("/proc/meminfo")
    found = re.search(r"MemAvailable: +(\d+) kB", path.read_text()) if path.is_file() else None
    return int(found[1]) * 1024 // 10**6 if found else None


def _used_mb(folder: Path) -> dict[str, float]:
    """What lies in a folder of runs, by what it is for."""
    sizes = {"runs": 0, "teachers": 0, "cache": 0}
    for file in (path for path in folder.rglob("*") if path.is_file()):
        names = file.relative_to(folder).parts[:-1]
        is_teacher = any("-finetuned" in name for name in names)
        kind = "cache" if CACHE in names else "teachers" if is_teacher else "runs"
        sizes[kind] += file.lstat().st_size
    return {kind: round(size / 1e6, 1) for kind, size in sizes.items()}


def _told(value: object) -> str:
    """A JSON value in words."""
    if isinstance(value, dict):
        return "; ".join(f"{name} {_told(inner)}" for name, inner in value.items())
    if isinstance(value, bool):
        return "reachable" if value else "not reachable"
    return (", ".join(value) or "none") if isinstance(value, list) else str(value)
