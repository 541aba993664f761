"""The editor of a local model."""
from eval.edits.editor import Editor
from eval.frame.benchmark import Row
from mm.parts import build


def editor_of(model: str, recipe: Row, device: str, dtype: str | None) -> Editor:
    """The pipeline of diffusers in the folder `model`, edited as the recipe says: parts by their import paths, as in configs/edit."""
    from mm.diffusion.editor import Editor as Local  # loads diffusers

    parts = {name: value for name, value in recipe.items() if name != "name"}
    return Local(model, recipe=build(parts), device=device, dtype=dtype)
