"""The editor of a local model."""
from eval.edits.editor import Editor
from eval.frame.benchmark import Row


def editor_of(model: str, recipe: Row, device: str, dtype: str | None) -> Editor:
    """The pipeline of diffusers in the folder `model`, edited as the recipe says: parts by their import paths, as in configs/edit."""
    from mm.diffusion.editor import Editor as Local  # loads diffusers
    from mm.diffusion.load import load
    from mm.diffusion.recipe import recipe as built

    return Local(load(model, device, dtype), built({name: value for name, value in recipe.items() if name != "name"}))
