"""Evaluations as programs of their own, which may be killed."""
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def start(arguments: Sequence[str], rank: int = 0, size: int = 1, port: int = 0) -> subprocess.Popen[str]:
    """`python -m eval`, as torchrun would start it where there are several."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "localhost", "MASTER_PORT": port} if size > 1 else {}
    return subprocess.Popen([sys.executable, "-m", "eval", *arguments], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=environment() | {name: str(value) for name, value in place.items()})


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return kept | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo"}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


def batches(part: Path) -> list[int]:
    """Those that a part holds as whole lines."""
    lines = part.read_bytes().splitlines(keepends=True)[1:] if part.exists() else []
    return [json.loads(line)["batch"] for line in lines if line.endswith(b"\n")]


def kill_in_the_middle(process: subprocess.Popen[str], part: Path, done: int = 3) -> None:
    """SIGKILL as soon as it has written so many batches."""
    ends = time.monotonic() + 60
    while len(batches(part)) < done:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < ends
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
