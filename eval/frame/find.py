"""Benchmarks by name: eval/<name>.py holds one class derived from Benchmark. Nothing to register."""
import inspect
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from eval.frame.benchmark import Benchmark


def names() -> list[str]:
    """Every benchmark there is."""
    return sorted(path.stem for path in Path(__file__).resolve().parents[1].glob("*.py") if not path.stem.startswith("_"))


def benchmark_class(name: str) -> type[Benchmark]:
    """The benchmark class of module eval.<name>. Raises ValueError with the nearest names when there is none."""
    if name not in names():
        near = get_close_matches(name, names(), n=1, cutoff=0.4)
        raise ValueError(f"no benchmark {name!r}" + (f"; did you mean {near[0]!r}?" if near else "") + f" There are: {', '.join(names())}.")
    classes = [value for value in vars(import_module(f"eval.{name}")).values() if inspect.isclass(value) and value.__module__ == f"eval.{name}"]
    found = [value for value in classes if issubclass(value, Benchmark)]
    if len(found) != 1:
        raise ValueError(f"eval/{name}.py should define one class derived from Benchmark; it defines {len(found)}")
    return found[0]
