"""Learning rate per glob: which parameters train, how fast, and a table that says so before the first step."""
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn


@dataclass(frozen=True)
class Group:
    """Parameters that share learning rate and weight decay. names: of the parameters, in the model's order."""

    glob: str
    lr: float
    decays: bool
    names: tuple[str, ...]


def matches(name: str, glob: str) -> bool:
    """Whether a parameter falls under a glob. A glob that names a module stands for everything in it: `projector` = `projector.*`."""
    return fnmatchcase(name, glob) or fnmatchcase(name, glob + ".*")


def rates_of(model: nn.Module, train: Mapping[str, float]) -> dict[str, tuple[str, float]]:
    """Parameter name → (glob, learning rate) of all parameters that train. Of several matching globs the last one counts; rate 0 freezes.

    Raises ValueError for a glob that matches no parameter, and where nothing would train.
    """
    names = [name for name, _ in model.named_parameters()]
    found: dict[str, tuple[str, float]] = {}
    for glob, lr in train.items():
        hit = [name for name in names if matches(name, glob)]
        if not hit:
            modules = sorted({".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)})
            near = get_close_matches(glob, modules, n=3, cutoff=0.3) or modules[:3]
            raise ValueError(f"model.train: {glob!r} matches none of the {len(names)} parameters; nearest names: {', '.join(near)}. "
                             f"The parts are {', '.join(sorted({name.split('.')[0] for name in names}))}.")
        found |= dict.fromkeys(hit, (glob, lr))
    found = {name: found[name] for name in names if name in found and found[name][1] > 0}
    if not found:
        raise ValueError("model.train: nothing trains; give at least one part a learning rate above 0, like {projector: 1.0e-3}.")
    return found


def groups_of(model: nn.Module, train: Mapping[str, float]) -> list[Group]:
    """Optimiser groups in the order of the globs. Matrices decay; vectors and scalars (biases, norms, gates) do not, nor does what a module keeps
    from it in its `undecayed`, names of its own parameters: those that do nothing at another value than 0.
    """
    parameters = dict(model.named_parameters())
    kept = {f"{path}.{name}" for path, module in model.named_modules() for name in getattr(module, "undecayed", ())}
    sorted_in: dict[tuple[str, float, bool], list[str]] = {}
    for name, (glob, lr) in rates_of(model, train).items():
        sorted_in.setdefault((glob, lr, parameters[name].ndim >= 2 and name not in kept), []).append(name)
    return [Group(glob, lr, decays, tuple(names)) for (glob, lr, decays), names in sorted_in.items()]


def freeze_others(model: nn.Module, train: Mapping[str, float]) -> None:
    """Only what has a rate gets gradients. Parts without any trainable parameter rest: no dropout in them, no running statistics that drift.

    Blocks that recompute their activations decide on it by their `training`: they and what holds them keep it, and all within them rests.
    """
    rates = rates_of(model, train)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in rates)
    for part in model.children():
        if not any(parameter.requires_grad for parameter in part.parameters()):
            lists = [module for module in part.modules() if isinstance(module, nn.ModuleList)]
            blocks = {block for each in lists for block in each if getattr(block, "gradient_checkpointing", False)}
            for module in part.modules():  # attention of transformers drops by a flag of its own, so leaves are not enough
                module.training &= not blocks.isdisjoint(module.modules())


def table(model: nn.Module, train: Mapping[str, float]) -> str:
    """part | parameters | trainable | learning rate: one line a part, with every rate found in it."""
    rates = rates_of(model, train)
    rows = [("part", "parameters", "trainable", "learning rate")]
    for part, module in model.named_children():
        sizes = {f"{part}.{name}": parameter.numel() for name, parameter in module.named_parameters()}
        found = {name: rates[name] for name in sizes if name in rates}
        if sizes:
            rate = ", ".join(f"{lr:g}" + ("" if glob in (part, part + ".*") else f" ({glob})") for glob, lr in dict.fromkeys(found.values()))
            rows.append((part, f"{sum(sizes.values()):,}", f"{sum(sizes[name] for name in found):,}", rate or "frozen"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join("  ".join([row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].rjust(widths[2]), row[3]]) for row in rows)
