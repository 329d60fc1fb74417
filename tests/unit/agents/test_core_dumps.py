"""An agent leaves no core behind: its memory holds what masking has not seen yet."""

import subprocess
import sys

from tests.builders.programs import ROOT

PR_GET_DUMPABLE = 3
SCRIPT = f"""
import ctypes, resource
from agents.core_dumps import forbid_core_dumps
forbid_core_dumps()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl({PR_GET_DUMPABLE}, 0, 0, 0, 0))
"""


def test_no_core_is_written_however_the_process_ends():
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(0, 0) 0"


def test_the_commands_that_capture_forbid_cores_first():
    for command in ("run_command", "try_command"):
        text = (ROOT / "agents" / "cli" / f"{command}.py").read_text()
        assert text.index("forbid_core_dumps()") < text.index("read_settings()")
