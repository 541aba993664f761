"""What produced a file: the commit of the code and the versions of what it stands on."""
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version

PACKAGES = ("mm-attention", "torch", "lightning", "transformers", "timm", "open_clip_torch", "diffusers", "torchmetrics", "jsonargparse", "numpy",
            "nltk")


@cache
def versions() -> dict[str, str]:
    """Package → version of everything that can change a result, as far as installed."""
    found = {"python": python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def revision() -> str:
    """Commit of the source tree, with "-dirty" if files under version control differ from it; "unknown" outside a checkout."""
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
