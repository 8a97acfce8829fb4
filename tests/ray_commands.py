"""Commands with Ray, each in a namespace with a loopback alone, whose processes can be told.

Ray looks for its own address on the network, which a test must not ask for anything.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from tests.workflows.test_kills import MARK, living

LIMIT_SECONDS = 300.0


def why_not():
    """Why no command can be run with Ray here, or nothing."""
    if importlib.util.find_spec("ray") is None:
        return "needs ray"
    tried = shutil.which("unshare") and subprocess.run(["unshare", "-n", "true"], check=False)
    return "" if tried and tried.returncode == 0 else "needs a network namespace"


needs_ray = pytest.mark.skipif(bool(why_not()), reason=why_not() or "can be run")


class Command:
    """A command in a namespace of its own, whose processes can be told."""

    def __init__(self, *arguments):
        self.mark = uuid.uuid4().hex
        variables = {MARK: self.mark, "RAY_USAGE_STATS_ENABLED": "0", "LOKY_MAX_CPU_COUNT": "2"}
        # Ray's workers would come after all else that a machine has to do.
        variables["RAY_worker_niceness"] = "0"
        # Where Ray looks for a cluster of this machine: none of another test's.
        variables["RAY_TMPDIR"] = f"/tmp/{self.mark}"
        line = [sys.executable, "-m", "tfkd", *map(str, arguments)]
        self.process = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", *line],
            env={**os.environ, **variables},
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.kill()

    def living(self):
        """Its processes."""
        return living(f"{MARK}={self.mark}".encode())

    def workers(self, name):
        """Those of Ray's workers that do some work."""
        found = []
        for number in self.living():
            try:
                line = Path(f"/proc/{number}/cmdline").read_bytes()
            except OSError:
                continue
            if line.startswith(f"ray::{name}".encode()):
                found.append(number)
        return found

    def kill(self):
        """Kills the driver; its cluster goes with it."""
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        wait_for(lambda: not self.living())

    def end(self):
        """Waits for the end, and gives what was said."""
        return self.process.communicate(timeout=LIMIT_SECONDS)[1]


def wait_for(condition):
    """What the condition gives once it is true; it has to be within the limit."""
    end = time.monotonic() + LIMIT_SECONDS
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found
