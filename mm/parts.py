"""A part as data: its import path and constructor arguments, so that what was trained can be written down and built again.

The convention that makes it work: every part keeps each constructor argument under the argument's own name. An argument that the part turns into
something else of the same name is kept as `<name>_part`. A part whose arguments name a download defines `rebuild() -> dict`, the description of the
same architecture without one.
"""
import inspect
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import PurePath
from pkgutil import iter_modules
from typing import Any

Description = dict[str, Any]
_PLAIN = (str, int, float, bool, type(None))


def describe(part: object, offline: bool = False) -> Description:
    """`{"class_path": ..., "init_args": {...}}` of a part, nested parts included; plain JSON values only.

    offline: describe what builds the same architecture without fetching weights; weights are then loaded over it.
    Raises ValueError for an argument that the part does not keep or that JSON cannot hold.
    """
    rebuild = getattr(part, "rebuild", None)
    if offline and rebuild is not None:
        return _plain(rebuild(), f"{type(part).__name__}.rebuild()", offline)
    kind = type(part)
    arguments = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ValueError(f"{kind.__qualname__} takes *{name}; a part names each of its arguments, so that it can be described")
        value = getattr(part, f"{name}_part", getattr(part, name, parameter.empty))
        if value is parameter.empty:
            raise ValueError(f"{kind.__qualname__} does not keep its argument {name!r}; set self.{name} = {name} in its constructor")
        arguments[name] = _plain(value, f"{kind.__qualname__}.{name}", offline)
    return {"class_path": f"{_public_home(kind)}.{kind.__qualname__}", "init_args": arguments}


def build(description: Mapping[str, Any] | str, allow: Sequence[str] = ("mm.",)) -> Any:
    """The object that `description` tells of; a bare import path stands for default arguments, among the arguments of another part as well.

    allow: prefixes of import paths that may be imported. A saved model is data from elsewhere: nothing else is imported for it.
    Raises ValueError for a path that is not allowed or does not exist, and for arguments that the class does not take.
    """
    if isinstance(description, str):
        description = {"class_path": description}
    path = description.get("class_path")
    if not isinstance(path, str) or "." not in path:
        raise ValueError(f"a part is described by an import path such as 'mm.masks.Causal'; got class_path={path!r}")
    if not any(path == prefix or path.startswith(prefix if prefix.endswith(".") else prefix + ".") for prefix in allow):
        raise ValueError(f"{path} is outside {', '.join(allow)} and is not imported unasked; pass allow=('mm.', '{path.split('.')[0]}.') to trust it")
    module, _, name = path.rpartition(".")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        near = _nearest(path)
        raise ValueError(f"there is no {path}{f'; did you mean {near}?' if near else ''} ({error})") from error
    arguments = {key: _built(value, allow) for key, value in description.get("init_args", {}).items()}
    try:
        inspect.signature(kind).bind(**arguments)
    except TypeError as error:
        taken = list(inspect.signature(kind).parameters)
        meant = [close for wrong in arguments if wrong not in taken for close in get_close_matches(wrong, taken, n=1)]
        hint = f"; did you mean {meant[0]}?" if meant else ""
        raise ValueError(f"{path} does not take these arguments: {error}{hint} It takes {inspect.signature(kind)}") from error
    return kind(**arguments)


def _nearest(path: str) -> str | None:
    """The import path that may be meant by one that does not exist, None where nothing is like it."""
    home, *modules, last = path.split(".")
    try:
        for name in modules:
            home = f"{home}.{_like(name, [module.name for module in iter_modules(import_module(home).__path__)])}"
        package = import_module(home)
        return f"{home}.{_like(last, list(getattr(package, '__all__', vars(package))))}"
    except (ImportError, AttributeError, LookupError):
        return None


def _like(name: str, offered: Sequence[str]) -> str:
    """The one of `offered` that is most like `name`, whatever their case. LookupError where none is."""
    names = {each.lower(): each for each in offered}
    return names[get_close_matches(name.lower(), names, n=1, cutoff=0.5)[0]]


def _public_home(kind: type) -> str:
    """The shortest package that exports the class, so that files may be renamed without breaking saved models."""
    names = kind.__module__.split(".")
    for end in range(1, len(names)):
        home = ".".join(names[:end])
        if end > 1 and getattr(import_module(home), kind.__qualname__, None) is kind:
            return home
    return kind.__module__


def _plain(value: Any, where: str, offline: bool) -> Any:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}[{key!r}]", offline) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]", offline) for index, item in enumerate(value)]
    if type(value).__module__.partition(".")[0] in ("torch", "transformers", "numpy", "builtins"):
        raise ValueError(f"{where} is a {type(value).__name__}, which JSON cannot hold; a part keeps plain values or other parts")
    return describe(value, offline)


def _built(value: Any, allow: Sequence[str]) -> Any:
    if isinstance(value, Mapping):
        return build(value, allow) if "class_path" in value else {key: _built(item, allow) for key, item in value.items()}
    if isinstance(value, str) and value.startswith(tuple(allow)) and value.rpartition(".")[2][:1].isupper():
        return build(value, allow)
    return [_built(item, allow) for item in value] if isinstance(value, list) else value
