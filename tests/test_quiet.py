"""Libraries' notes are kept away, and nothing else is."""

import gc
import logging
import os
import subprocess
import sys
import warnings

import pytest

from tfkd.quiet import native_stderr_hidden, quiet_libraries


def test_native_output_is_hidden_inside_the_block_only(capfd):
    os.write(2, b"before\n")
    with native_stderr_hidden():
        os.write(2, b"a note on oneDNN\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "before\nafter\n"


def test_standard_error_is_back_after_an_error(capfd):
    with pytest.raises(ImportError, match="^broken$"):
        with native_stderr_hidden():
            raise ImportError("broken")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


@pytest.fixture
def collector():
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("collector")
def test_what_the_user_has_set_stays(monkeypatch):
    for name in ("tensorflow", "absl"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    with warnings.catch_warnings():
        quiet_libraries()
    assert gc.get_threshold()[0] == 100_000
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
    assert logging.getLogger("tensorflow").level == logging.ERROR


@pytest.mark.parametrize(("options", "shown"), [([], False), (["-W", "always"], True)])
def test_warnings_are_shown_only_when_asked_for(options, shown):
    code = "import warnings, tfkd.quiet as q; q.quiet_libraries(); warnings.warn('outdated')"
    command = [sys.executable, *options, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ("outdated" in ended.stderr) is shown
