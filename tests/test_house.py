"""The house itself: metadata, dependencies, sizes, and pages that name what exists."""

import ast
import configparser
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tfkd
from tfkd.config.verbs import VERBS, StudyConfig, read_toml
from tfkd.studies.form import read_plan

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "tfkd").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))
# Packages whose import name is not their own name.
DISTRIBUTIONS = {"cpuinfo": "py-cpuinfo", "sklearn": "scikit-learn"}
# They arrive with a package that is asked for, and are only used together with it.
BROUGHT_ALONG = {"tensorflow_text": "keras-hub", "kagglehub": "keras-hub"}
SHORTEST_MODULE = 40
# Modules that are shorter, and why.
SHORT_MODULES = {
    "compression/qat/legacy.py": "settles what Keras means before TF-MOT is imported",
    "models/head.py": "filled without TensorFlow, taken by what needs it",
}


@pytest.fixture(scope="module")
def setup():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lines(value: str) -> list[str]:
    return [line for line in value.split("\n") if line]


def functions(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def test_pyproject_holds_the_build_system_only():
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert list(content) == ["build-system"]
    assert content["build-system"]["build-backend"] == "setuptools.build_meta"


def test_metadata(setup):
    assert setup["metadata"]["name"] == "tfkd"
    assert setup["metadata"]["version"] == "attr: tfkd.__version__"
    assert setup["metadata"]["license"] == "Apache-2.0"
    assert setup["options"]["python_requires"] == ">=3.11"
    assert lines(setup["options.entry_points"]["console_scripts"]) == ["tfkd = tfkd.cli:main"]
    assert lines(setup["options.package_data"]["tfkd"]) == [
        *("*.pyi", "py.typed", "compression/kits/web/*", "models/*.json"),
        *(f"reports/*.{end}" for end in ("css", "html", "js")),
        "serving/*.html",
    ]
    assert (ROOT / "tfkd" / "py.typed").is_file()
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_version_is_a_literal_that_needs_no_import():
    source = (ROOT / "tfkd" / "__init__.py").read_text(encoding="utf-8")
    assert re.search(r'^__version__ = "(\d+\.\d+\.\d+)"$', source, re.MULTILINE)[1] == (
        tfkd.__version__
    )


def test_dependencies_have_lower_bounds_and_no_pins(setup):
    required = lines(setup["options"]["install_requires"])
    required += lines(setup["options.extras_require"]["test"])
    for line in required:
        assert re.fullmatch(r"[\w-]+>=[\d.]+", line), line
    assert {re.split(">=", line)[0] for line in required} >= {
        "tensorflow",
        "keras",
        "keras-hub",
        "tensorflow-datasets",
        "tensorflow-model-optimization",
        "click",
        "importlib_resources",
    }


def test_constraints_are_versions_that_the_requirements_allow(setup):
    head, *pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert head.startswith("# ")
    # Nothing of a machine: no paths, no hosts, no editable installs.
    assert all(re.fullmatch(r"[\w.-]+==[\w.+]+", pin) for pin in pins)
    found = dict(pin.split("==") for pin in pins)
    versions = {canonicalize_name(name): version for name, version in found.items()}
    assert len(versions) == len(pins)
    required = lines(setup["options"]["install_requires"])
    for extra in setup["options.extras_require"].values():
        required += lines(extra)
    for requirement in map(Requirement, (line for line in required if not line.startswith("#"))):
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} against {version}"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_page_names_the_constraints(page):
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    assert "pip install -c constraints.txt ." in text


def test_every_imported_package_is_asked_for(setup):
    declared = lines(setup["options"]["install_requires"])
    for extra in ("edge", "onnx", "ray", "serve"):
        declared += lines(setup["options.extras_require"][extra])
    required = {line.split(">=")[0] for line in declared}
    required = {name.replace("-", "_") for name in required} | set(BROUGHT_ALONG)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            else:
                continue
            for name in (name.split(".")[0] for name in names):
                if name not in sys.stdlib_module_names and name != "tfkd":
                    asked = DISTRIBUTIONS.get(name, name).replace("-", "_")
                    assert asked in required, f"{path.name} imports {name}"


def test_warnings_are_errors_but_for_named_ones(setup):
    exceptions = lines(setup["tool:pytest"]["filterwarnings"])
    assert exceptions[0] == "error"
    for line in exceptions[1:]:
        action, message, category = line.split(":")[:3]
        assert action == "ignore"
        assert message or "." in line, f"{line}: name the message or the module"
        assert category, line


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_is_small_and_says_what_it_is(path):
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= 400
    assert "fmt: " not in source
    assert path.stem not in {"utils", "helpers", "common", "misc", "manager"}
    assert len(ast.get_docstring(ast.parse(source)) or "") > 20
    for node in functions(path):
        first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
        assert node.end_lineno - first.lineno < 40, node.name
        arguments = [a.arg for a in node.args.args + node.args.kwonlyargs if a.arg != "self"]
        assert len(arguments) <= 7, node.name


def test_types_are_named():
    """`Any` is for what has no type: JSON that was read, a field's default."""
    text = "".join(path.read_text(encoding="utf-8") for path in MODULES)
    per_thousand_lines = 1000 * len(re.findall(r"\bAny\b", text)) / text.count("\n")
    assert per_thousand_lines <= 15


def test_a_short_module_has_a_reason_of_its_own():
    short = {
        path.relative_to(ROOT / "tfkd").as_posix()
        for path in MODULES
        if path.read_text(encoding="utf-8").count("\n") < SHORTEST_MODULE
        and path.name not in ("__init__.py", "__main__.py")
    }
    assert short == set(SHORT_MODULES), "fold it into its neighbour, or say why it stands alone"


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_test_file_is_readable(path):
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= 600
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.raises":
            assert any(keyword.arg == "match" for keyword in node.keywords), node.lineno


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_config_file_is_valid_and_says_how_to_run_it(path):
    text = path.read_text(encoding="utf-8")
    head = "".join(line for line in text.splitlines(True) if line.startswith("#"))
    assert re.search(r"minute|hour|second", head), "say how long it takes"
    if f"tfkd study configs/{path.name}" in head:
        assert read_plan(StudyConfig(study=path)).arms
        return
    assert f"--config configs/{path.name}" in head
    tables = [verb for verb in VERBS if f"[{verb}]" in text]
    assert tables
    for verb in tables:
        VERBS[verb].from_mapping(read_toml(path, verb), path.name)


def test_makefile_has_its_words():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in ("install", "format", "lint", "test", "demo", "docs", "clean"):
        assert re.search(rf"^{word}:", text, re.MULTILINE), word
    assert "configs/demo.toml" in text


def test_every_page_has_its_place_in_the_site():
    pages = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("[dr]*s/*.md"))
    named = re.findall(r"\b((?:docs|results)/\w+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    assert sorted(named) == pages


def test_ci_is_a_program():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_changelog_knows_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{tfkd.__version__}]" in text


@pytest.mark.parametrize("verb", [*VERBS, "list"])
def test_readme_shows_every_verb(verb):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"\btfkd {verb}\b", text)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_page_names_only_files_that_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in re.findall(r"\b(?:tfkd|tests|configs|benchmarks)/[\w/.-]*\.(?:py|toml|md)\b", text):
        assert (ROOT / name).is_file(), name
    for target in re.findall(r"`make (\w+)", text):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
