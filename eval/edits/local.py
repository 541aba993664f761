"""The editor of a local model, whose local blend follows the words of each request."""
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eval.edits.editor import Edited, Editor, Request
from eval.frame.benchmark import Row


class PerWords:
    """recipe: as `read_recipe` gives it. make: the editor of what a recipe holds; called once for each pair of words that is met in a batch."""

    def __init__(self, recipe: Row, make: Callable[[Row], Editor]) -> None:
        self.content = {name: value for name, value in recipe.items() if name != "name"}
        self.make = make

    def __call__(self, requests: Sequence[Request], /) -> list[Edited]:
        """Requests with the same recipe go together; edits come in the order of the requests."""
        groups: dict[str, tuple[Row, list[int]]] = {}
        for index, request in enumerate(requests):
            content = worded(self.content, request.words)
            groups.setdefault(repr(content), (content, []))[1].append(index)
        found: dict[int, Edited] = {}
        for content, indices in groups.values():
            found.update(zip(indices, self.make(content)([requests[index] for index in indices]), strict=True))
        return [found[index] for index in range(len(requests))]


def worded(content: Row, words: tuple[str, ...]) -> Row:
    """A recipe whose local blends look at these words, of source and target; without its local blends where there are none, as in PIE-Bench's runners
    (from memory)."""
    if not content.get("edits"):
        return content
    edits = [_with(edit, words) if _blends(edit) else edit for edit in content["edits"]]
    return {**content, "edits": [edit for edit in edits if words or not _blends(edit)]}


def _blends(edit: Any) -> bool:
    path = edit.get("class_path") if isinstance(edit, Mapping) else edit
    return isinstance(path, str) and path.rpartition(".")[2] == "LocalBlend"


def _with(edit: Any, words: tuple[str, ...]) -> Row:
    described = dict(edit) if isinstance(edit, Mapping) else {"class_path": edit}
    return {**described, "init_args": {**described.get("init_args", {}), "words": list(words)}}


def editor_of(model: str, recipe: Row, device: str, dtype: str | None) -> Editor:
    """The pipeline of diffusers in the folder `model`, edited as the recipe says: parts by their import paths, as in configs/edit."""
    from mm.diffusion.editor import Editor as Local  # loads diffusers
    from mm.diffusion.editor import load
    from mm.diffusion.recipe import recipe as built

    pipeline = load(model, device=device, dtype=dtype)
    return PerWords(recipe, lambda content: Local(pipeline, built(content)))
