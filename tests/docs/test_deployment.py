"""The files of docs/serving.md for containers, systemd, Kubernetes, KServe, as far as they go."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tfkd.config.fields import option
from tfkd.config.verbs import ServeConfig
from tfkd.serving.app import build_app
from tfkd.serving.batcher import QueueLimits
from tfkd.serving.callers import OPEN_PATHS
from tfkd.serving.contract import RequestLimits
from tfkd.serving.models import Models

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
OPTIONS = {option(name, False) for name in ServeConfig.__dataclass_fields__}


def block(language):
    """The page's blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


def manifests():
    yaml = pytest.importorskip("yaml")
    return {part["kind"]: part for text in block("yaml") for part in yaml.safe_load_all(text)}


def containers():
    found = manifests()
    return [
        *found["Deployment"]["spec"]["template"]["spec"]["containers"],
        *found["InferenceService"]["spec"]["predictor"]["containers"],
    ]


def check_options(arguments):
    given = [word for word in arguments if word.startswith("--")]
    assert given and set(given) <= OPTIONS


def test_manifests_are_yaml_of_their_kinds():
    found = manifests()
    assert {kind: part["apiVersion"] for kind, part in found.items()} == {
        "Deployment": "apps/v1",
        "Service": "v1",
        "InferenceService": "serving.kserve.io/v1beta1",
    }
    deployment, service = found["Deployment"]["spec"], found["Service"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert labels == deployment["selector"]["matchLabels"] == service["selector"]
    names = [port["name"] for port in deployment["template"]["spec"]["containers"][0]["ports"]]
    assert service["ports"][0]["targetPort"] in names


def test_probes_ask_for_what_is_served_and_needs_no_token():
    app = build_app(Models([], QueueLimits()), RequestLimits())
    paths = {route.path for route in app.routes}
    for container in containers():
        check_options(container["args"])
        assert container["ports"][0]["containerPort"] == ServeConfig(runs=(Path(),)).port
        probes = [value for name, value in container.items() if name.endswith("Probe")]
        assert len(probes) >= 2
        for probe in probes:
            assert probe["httpGet"]["path"] in paths & set(OPEN_PATHS)


def test_the_pod_waits_longer_than_a_request_takes():
    pod = manifests()["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    waits = float(container["lifecycle"]["preStop"]["exec"]["command"][1])
    arguments = container["args"]
    seconds = float(arguments[arguments.index("--timeout-seconds") + 1])
    assert pod["terminationGracePeriodSeconds"] > waits + seconds


def test_the_container_has_the_packages_that_serve():
    (text,) = block("dockerfile")
    setup = (Path(__file__).parents[2] / "setup.cfg").read_text(encoding="utf-8")
    extra = re.search(r"^serve =\n((?:    .*\n)+)", setup, re.M)[1]
    installed = text.split("--no-cache-dir", 2)[1].split("&&")[0].replace("\\", "").split()
    assert {line.split(">=")[0] for line in extra.split()} <= set(installed)
    entry = re.search(r"^ENTRYPOINT (.*)$", text, re.M)[1]
    check_options(re.findall('"(.*?)"', entry))
    check_options(re.findall('"(.*?)"', re.search(r"^CMD (.*)$", text, re.M)[1]))


def test_the_unit_is_one(tmp_path):
    (text,) = block("ini")
    command = re.search(r"^ExecStart=(.*)$", text, re.M)[1]
    check_options(shlex.split(command))
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    program, path = shlex.split(command)[0], tmp_path / "tfkd.service"
    path.write_text(text.replace(program, shutil.which("true")), encoding="utf-8")
    ended = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True)
    told = [line for line in ended.stderr.splitlines() if "tfkd.service" in line]
    assert (ended.returncode, told) == (0, [])
