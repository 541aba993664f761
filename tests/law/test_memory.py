"""What a step frees is there for the next one without the system."""
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from mm.training.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def step():
    return [torch.ones(2**20) for _ in range(30)]
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Page faults of ten steps of 120 MB each."""
    return int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's; with another C library nothing is changed")
def test_freed_memory_is_not_faulted_in_again() -> None:
    assert faults("keep") < faults("leave") / 20
