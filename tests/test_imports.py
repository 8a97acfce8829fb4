"""The architecture, held by reading the imports of every module: layers, owners, quick starts."""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tfkd
from tfkd.config.verbs import VERBS

ROOT = Path(tfkd.__file__).parent
# From low to high. A module imports only from lower layers and from its own package.
LAYERS = [
    ["errors"],
    ["config"],
    ["seals", "parts", "quiet"],
    ["locks", "written_files"],
    ["artifacts", "keras_environment", "process", "progress", "network"],
    ["cluster"],
    ["data"],
    ["models"],
    ["distillation"],
    ["compression", "evaluation"],
    ["serving", "reports"],
    ["runs"],
    ["studies"],
    ["workflows"],
    ["options"],
    ["cli"],
    ["__main__"],
]
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# They know arrays, not the house, so that they can be read and tested alone.
ALONE = ["distillation/losses.py", "evaluation/metrics.py"]
OWNERS = {
    "click": ["cli.py", "options.py"],
    "tensorflow_datasets": ["data/sources.py", "data/builders.py"],
    "keras_hub": ["models/"],
    "ai_edge_litert": [
        "compression/litert.py",
        "compression/clients.py",
        "compression/kits/text_classifier.py",
        "compression/flatbuffer.py",
        "compression/operators.py",
        "compression/quantizer.py",
        "compression/metadata.py",
    ],
    "ai_edge_quantizer": ["compression/quantizer.py"],
    "tf2onnx": ["compression/onnx_file.py"],
    "onnx": ["compression/onnx_file.py"],
    "onnxruntime": ["compression/onnx_file.py", "compression/kits/text_classifier.py"],
    "cpuinfo": ["process.py"],
    "flatbuffers": ["compression/metadata.py", "compression/flatbuffer.py"],
    "tensorflow_text": ["models/text_graph.py", "compression/clients.py"],
    "tensorflow_model_optimization": ["compression/qat/"],
    "tf_keras": ["compression/qat/"],
    "starlette": ["serving/"],
    "prometheus_client": ["serving/metrics.py"],
    "uvicorn": ["serving/server.py"],
    "jinja2": ["reports/page.py"],
    "matplotlib": ["distillation/tensorboard.py", "reports/plots.py"],
    "ray": ["cluster.py"],
    "loky": ["process.py", "studies/pool.py"],
    "filelock": ["locks.py"],
    "subprocess": ["process.py"],
    "rich": ["evaluation/table.py", "progress.py", "cli.py"],
    "rich.table": ["evaluation/table.py"],
}
MODULES = sorted(ROOT.rglob("*.py"))
NAMES = [path.relative_to(ROOT).as_posix() for path in MODULES]


@functools.cache
def imported(path: Path) -> set[str]:
    """Full names of what a module imports, at the top or inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full, from tfkd"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own(path: Path) -> set[str]:
    """Parts of tfkd that a module imports: ("data", "models", ...), without its own package."""
    parts = {name.split(".")[1] for name in imported(path) if name.startswith("tfkd.")}
    return parts - {"__version__"}


def part(name: str) -> str:
    return name.split("/")[0].removesuffix(".py")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "__init__.py"])
def test_module_imports_only_from_lower_layers(name):
    assert part(name) in RANKS, f"give {part(name)} a place in LAYERS"
    for other in own(ROOT / name) - {part(name)}:
        assert other in RANKS, f"{name} imports tfkd.{other}, which is no module: import its home"
        assert RANKS[other] < RANKS[part(name)], f"{name} imports {other}, a layer not below it"


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("workflows/")])
def test_a_verb_imports_no_other_verb(name):
    assert not [full for full in imported(ROOT / name) if full.startswith("tfkd.workflows.")]


def test_workflows_are_the_verbs():
    stems = {path.stem for path in (ROOT / "workflows").glob("*.py")} - {"__init__"}
    # `list` would hide the builtin.
    assert stems == set(VERBS) | {"listing"}


def test_packages_have_no_cycles_inside():
    graph = {}
    for path, name in zip(MODULES, NAMES, strict=True):
        module = "tfkd." + name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        graph[module] = imported(path)
    order: list[str] = []

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " > ".join([*above, module])
        if module in order:
            return
        for name in graph[module]:
            for target in (name, name.rpartition(".")[0]):
                if target in graph and target != module and target != "tfkd.__init__":
                    visit(target, (*above, module))
                    break
        order.append(module)

    for module in graph:
        if module != "tfkd.__init__":
            visit(module, ())
    assert len(order) == len(graph) - 1


@pytest.mark.parametrize("name", ALONE)
def test_pure_numerics_import_nothing_of_tfkd(name):
    assert own(ROOT / name) == set()


@pytest.mark.parametrize("package", OWNERS)
def test_heavy_package_has_one_owner(package):
    users = [
        name
        for path, name in zip(MODULES, NAMES, strict=True)
        if any(f"{full}.".startswith(f"{package}.") for full in imported(path))
    ]
    strangers = [name for name in users if not name.startswith(tuple(OWNERS[package]))]
    assert strangers == []


def test_markdown_tables_are_written_in_one_place():
    """By the rule below their titles, examples in docstrings aside."""
    writers = []
    for path, name in zip(MODULES, NAMES, strict=True):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        statements = [node.value for node in nodes if isinstance(node, ast.Expr)]
        strings = [node for node in nodes if isinstance(node, ast.Constant)]
        code = [node.value for node in strings if node not in statements]
        if any(isinstance(value, str) and re.search("---:|:---|\\|-", value) for value in code):
            writers.append(name)
    assert writers == ["evaluation/table.py"]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_asks_tensorflow_for_keras(name):
    """Importing TF-MOT changes what `tf.keras` means."""
    for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr == "keras":
            assert ast.unparse(node.value) not in ("tf", "tensorflow"), f"line {node.lineno}"
    assert not any(full.startswith("tensorflow.keras") for full in imported(ROOT / name))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_prints(name):
    """The command line answers through click; everything below returns results."""
    for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) != "print", f"line {node.lineno}"


@pytest.mark.parametrize(
    "statement",
    [
        "import tfkd",
        "import tfkd.cli",
        "import tfkd.config",
        "import tfkd.data.catalog",
        "import tfkd; tfkd.DistillConfig(dataset='demo')",
    ],
)
def test_import_is_quick(statement):
    heavy = "tensorflow keras keras_hub tensorflow_datasets ai_edge_litert scipy sklearn rich"
    code = f"import sys; {statement}; print(sorted(set({heavy.split()}) & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    "module",
    [
        "runs.choices",
        *(
            f"workflows.{name}"
            for name in (
                "check",
                "clean",
                "doctor",
                "errors",
                "listing",
                "predict",
                "report",
                "serve",
            )
        ),
    ],
)
def test_what_needs_no_model_loads_no_tensorflow(module):
    """A typo, a kept table and a served file need not wait for it."""
    heavy = "tensorflow keras keras_hub tensorflow_datasets"
    code = f"import sys, tfkd.{module}; print(sorted(set({heavy.split()}) & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("[]\n", "")


def test_public_names_are_found_at_home():
    """Each stands once, in the stub, and is what its home calls so."""
    tree = ast.parse((ROOT / "__init__.pyi").read_text(encoding="utf-8"))
    stub = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    homes = {alias.asname: f"tfkd.{node.module}" for node in stub for alias in node.names}
    assert len(homes) == sum(len(node.names) for node in stub) == 38
    assert set(tfkd.__all__) == set(homes) | {"__version__"}
    assert set(dir(tfkd)) >= set(homes)
    for name, home in homes.items():
        value = getattr(tfkd, name)
        assert value.__module__ == home, name
        assert value.__name__ == name


def test_no_public_name_is_hidden_by_a_module():
    parts = {path.stem for path in ROOT.iterdir()}
    assert parts & set(tfkd.__all__) == set()


def test_unknown_public_name_is_refused():
    with pytest.raises(AttributeError, match="^No tfkd attribute destill$"):
        _ = tfkd.destill
