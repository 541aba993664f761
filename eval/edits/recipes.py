"""What an edit does, as a file says it."""
from collections.abc import Sequence
from pathlib import Path

from eval.frame.benchmark import Row
from mm.diffusion.recipe import read_content


def read_recipe(file: str) -> Row:
    """{"name": the file's, and what it holds}. ValueError for a file that holds no recipe."""
    path = Path(file)
    return {"name": path.stem, **read_content(path)}


def read_recipes(files: Sequence[str]) -> list[Row]:
    """Of files, and of folders in the order of their names, whose other YAMLs, without `edits`, are passed over. ValueError where two have one name,
    which is that of their results."""
    found = [recipe for file in files for recipe in (_of_folder(Path(file)) if Path(file).is_dir() else [read_recipe(file)])]
    names = [recipe["name"] for recipe in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two recipes are called {twice[0]}; rename one")
    if not found:
        raise ValueError(f"no recipes in {', '.join(files) or 'nothing'}; give YAML files")
    return found


def _of_folder(folder: Path) -> list[Row]:
    return [recipe for recipe in map(read_recipe, map(str, sorted(folder.glob("*.yaml")))) if "edits" in recipe]
