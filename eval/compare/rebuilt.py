"""The benchmark behind a result, built again from its settings."""
import inspect

from jsonargparse import ArgumentError, ArgumentParser

from eval.frame.benchmark import Benchmark, Item
from eval.frame.find import benchmark_class
from eval.frame.result import Result
from eval.frame.views import VIEWS


def rebuilt(result: Result) -> Benchmark:
    """ValueError where there is no such benchmark here, or it does not take these settings."""
    kind = benchmark_class(result.benchmark)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "benchmark", instantiate=False)
    own = {name: result.settings[name] for name in inspect.signature(kind).parameters if name in result.settings}
    try:
        found = parser.instantiate(parser.parse_object({"benchmark": own}))
        return kind(**found.benchmark.as_dict() if own else {})
    except (ArgumentError, TypeError, OSError) as error:
        raise ValueError(f"{result.benchmark} cannot be built again from its result's settings ({error}); was it made by another version?") from error


def items_of(result: Result, benchmark: Benchmark) -> dict[str, Item]:
    """The items by id, as the model was shown them. Whatever their data raise where these lie elsewhere now."""
    view = VIEWS[result.settings.get("view", "full")]
    return {item.id: view(item) for item in benchmark.items()}
