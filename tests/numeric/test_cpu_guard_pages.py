"""No kernel touches a byte outside its buffers: forbidden pages lie on both their sides."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tile_programs import CPUS, GROUPED_CPUS

SCRIPT = Path(__file__).with_name("guarded_runs.py")


@pytest.mark.parametrize(
    ("sides", "cpu"),
    [
        ("end,start", "native"),
        ("end", "x86-64-v3"),
        ("end", "znver4"),
        ("start", "alderlake"),
    ],
)
def test_inside_the_buffers(sides, cpu):
    if cpu not in (*CPUS, *GROUPED_CPUS):
        pytest.skip(f"this machine is no {cpu}")
    run = subprocess.run(
        [sys.executable, str(SCRIPT), sides, cpu], capture_output=True, text=True, timeout=600
    )
    lines = run.stdout.split("\n")[-4:]
    assert run.returncode == 0, (
        f"stopped with {run.returncode} in {lines}: {run.stderr[-2000:]}"
    )
    assert lines[-2] == "done"
