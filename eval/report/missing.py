"""What a run does not have yet, and the command that makes it."""
from dataclasses import dataclass
from pathlib import Path

from eval.report.run import Filed


@dataclass(frozen=True)
class Missing:
    what: str
    command: str


def fit(folder: Path, config: Path = Path("configs/demo.yaml")) -> str:
    return f"python train.py fit --config {config} --run_dir {folder}"


def evaluation(folder: Path, benchmark: str, view: str = "full") -> str:
    return f"python -m eval {benchmark} --model {folder}" + ("" if view == "full" else f" --view {view}")


def command_of(folder: Path, filed: Filed) -> str:
    """The command that made a result, as far as it differs from the defaults of all benchmarks."""
    result, settings = filed.result, filed.result.settings
    options = [f"--lever {Path('configs/lever') / result.lever['file']}"] if result.lever and "file" in result.lever else []
    options += [f"--limit {settings['limit']}"] if settings.get("limit") else []
    options += [f"--parser {result.parser}"] if result.parser != "official" else []
    options += [f"--data {settings['data']}"] if settings.get("data") not in (None, "world") else []
    return " ".join([evaluation(folder, result.benchmark, filed.view), *options])
