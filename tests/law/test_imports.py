"""The dependency direction of the house, read from the import statements."""
import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A package may import itself and whatever stands on a lower floor; levers on one floor do not know each other.
FLOORS: list[set[str]] = [
    {"mm.tokens", "mm.sample", "mm.media", "mm.parts", "mm.versions", "mm.attention"},
    {"mm.masks", "mm.positions", "mm.reweight", "mm.keep", "mm.streams"},
    {"mm.vision", "mm.language", "mm.diffusion"},
    {"mm.models", "mm.steer"},
    {"mm.training", "mm.decoding", "mm.analysis"},
    {"mm.levers"},
    {"mm.ask", "mm.edit", "mm.clients"},
    {"data"},
    {"eval"},
    {"train"},
]
FLOOR = {package: floor for floor, packages in enumerate(FLOORS) for package in packages}
DATA_MAY = {"mm.tokens", "mm.sample", "mm.media"}
HOMES = {
    "lightning": ("mm.training", "train"),
    "timm": ("mm.vision", "mm.language", "mm.diffusion", "mm.models"),
    "open_clip": ("mm.vision", "mm.language", "mm.diffusion", "mm.models"),
    "transformers": ("mm.vision", "mm.language", "mm.diffusion", "mm.models"),
    "diffusers": ("mm.vision", "mm.language", "mm.diffusion", "mm.models"),
    "lmms_eval": ("mm.clients",),
}


def package_of(module: str) -> str | None:
    """The house package that a module belongs to, None for the outside world and for `mm` itself."""
    for package in FLOOR:
        if module == package or module.startswith(package + "."):
            return package
    return None


def broken_rules(module: str, source: str) -> list[str]:
    """Every import in `source` that the law forbids to `module`."""
    home = package_of(module)
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            targets = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            targets = []
            found.append(f"{module}:{node.lineno} imports relatively; name the package")
        else:
            continue
        for target in targets:
            top = target.split(".")[0]
            if top in HOMES and (home or module) not in HOMES[top]:
                found.append(f"{module}:{node.lineno} imports {top}, which only {', '.join(HOMES[top])} may")
            other = package_of(target)
            if home is None or other is None or other == home:
                continue
            if home == "data":
                if other not in DATA_MAY:
                    found.append(f"{module}:{node.lineno} imports {other}; data may import {', '.join(sorted(DATA_MAY))} only")
            elif FLOOR[other] > FLOOR[home] or (FLOOR[other] == FLOOR[home] and FLOOR[home] == 1):
                found.append(f"{module}:{node.lineno} imports {other}, which is not below {home}")
    return found


def sources() -> list[tuple[str, Path]]:
    files = [ROOT / "train.py", *(path for top in ("mm", "data", "eval") for path in (ROOT / top).rglob("*.py"))]
    return [(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path) for path in files if path.exists()]


def test_no_module_imports_upwards() -> None:
    modules = sources()
    assert len(modules) > 20
    assert [line for name, path in modules for line in broken_rules(name, path.read_text())] == []


def test_every_module_stands_on_a_floor() -> None:
    assert [name for name, _ in sources() if package_of(name) is None and name != "mm"] == []


@pytest.mark.parametrize(("module", "source"), [
    ("mm.attention.part", "from mm.masks import Causal"),
    ("mm.masks.prefix", "from mm.positions import Sequential"),
    ("mm.vision.timm", "import mm.models.vlm"),
    ("mm.models.vlm", "import lightning"),
    ("mm.masks.prefix", "import transformers"),
    ("eval.pope", "import lmms_eval"),
    ("mm.clients.lmms_eval", "from eval.frame.model import Model"),
    ("data.llava", "from mm.models import VLM"),
    ("mm.training.data", "from data.world import Scenes"),
    ("mm.streams.mlp", "from .base import Projector"),
])
def test_the_law_sees_a_breach(module: str, source: str) -> None:
    assert len(broken_rules(module, source)) >= 1


def test_importing_mm_is_light() -> None:
    """Nothing heavy is imported until it is used, and the package itself takes under a second beyond torch."""
    code = ("import torch, time, sys; start = time.process_time(); import mm; mm.TokenMap; mm.attend; spent = time.process_time() - start; "
            "heavy = {'transformers', 'lightning', 'timm', 'open_clip', 'diffusers', 'wandb'} & set(sys.modules); print(spent < 1.0, sorted(heavy))")
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.split("\n")[0] == "True []"
