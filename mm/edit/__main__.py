"""python -m mm.edit --model runs/edit/pipeline --prompt "a red circle left of a blue square" --to "a green circle left of a blue square"
python -m mm.edit --model DIR --image photo.png --prompt "a cat on a mat" --to "a dog on a mat" --recipe configs/edit/recipe/swap.yaml

One edit on a local pipeline of diffusers. Writes edited.png, source.png, plain.png (the target caption from the same noise, without control),
mask.png where there is a local blend, an overlay of each word's heat map, recipe.yaml, and edit.html, a page of one file. Without a recipe it is
Prompt-to-Prompt: Replace where both captions have as many words, otherwise Refine, and self-attention injection; a given picture is held to its
trajectory. Options go on top of a recipe.
"""
import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from mm.diffusion import Editor, Request
from mm.diffusion.denoisers import denoiser
from mm.diffusion.load import load
from mm.diffusion.recipe import read_recipe
from mm.edit.choosing import Wishes, chosen
from mm.edit.files import heat_on, write
from mm.edit.page import Done, page
from mm.edit.refusing import check_device, check_sides, first_line
from mm.edit.words import has, words
from mm.media import load_image


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status; errors of the user's making are one line on stderr."""
    line = list(sys.argv[1:] if arguments is None else arguments)
    given = _parser().parse_args(line)
    try:
        told = _edited(given, shlex.join(["python", "-m", "mm.edit", *line]))
    except (ValueError, OSError, RuntimeError) as error:  # torch has RuntimeError for shapes that do not fit and for memory that ends
        print(f"mm.edit: {first_line(error)}", file=sys.stderr)
        return 2
    print(told)
    return 0


def _edited(given: argparse.Namespace, command: str) -> str:
    """Makes the edit and its files. Returns what to tell."""
    prompt, to = given.prompt, given.to or (given.prompt if given.rescale else "")
    if not prompt.strip() or not to.strip():
        raise ValueError("an edit takes two captions, --prompt of the source and --to of what it is to become (with --rescale it may be the same)")
    recipe = read_recipe(Path(given.recipe)) if given.recipe else None
    photo = None if given.image is None else load_image(given.image)
    check_device(given.device)
    pipe = load(given.model, given.device, given.dtype)
    model = denoiser(pipe)
    recipe = chosen(recipe, _wishes(given), prompt, to, photo is not None, model)
    editor = Editor(pipe, recipe, given.side)
    height, width = editor.size if photo is None else photo.shape[:2]
    check_sides(height, width, "--side" if photo is None else str(given.image), model)
    asked = words(prompt, to, _listed(given.words))
    began = time.perf_counter()
    edited, = editor([Request(prompt, to, None if photo is None else Image.fromarray(photo), given.seed, asked.all)])
    spent = time.perf_counter() - began
    heats = {word: heat_on(edited, word, has(prompt, word)) for word in asked.all}
    out = Path(given.out)
    files = write(out, edited, {word: heats[word] for word in asked.shown}, recipe)
    done = Done(prompt, to, edited, heats, asked.shown, recipe, type(pipe).__name__, given.model, given.image, given.seed, given.device,
                str(model.network.dtype).removeprefix("torch."), spent, command)
    (out / "edit.html").write_text(page(done), encoding="utf-8")
    return f"{out / 'edit.html'} (one file), and beside it {', '.join(files)}"


def _wishes(given: argparse.Namespace) -> Wishes:
    blend = _listed(given.blend)
    if given.blend is not None and len(blend) != 2:
        raise ValueError(f"--blend takes two words, one of the source and one of the target, like cat,dog; got {given.blend!r}")
    for option, share in (("--cross", given.cross), ("--self", given.self_)):
        if share is not None and not 0 <= share <= 1:
            raise ValueError(f"{option} is a share of the run in [0, 1]; got {share:g}")
    return Wishes(given.steps, given.guidance, given.cross, given.self_, (blend[0], blend[1]) if blend else None,
                  tuple(map(_rescaling, given.rescale or ())))


def _rescaling(text: str) -> tuple[str, float]:
    word, _, value = text.rpartition("=")
    try:
        return word.strip() or text, float(value)
    except ValueError as error:
        raise ValueError(f"--rescale takes a word and what its attention is multiplied by, like fluffy=2; got {text!r}") from error


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(filter(None, (word.strip() for word in (text or "").split(","))))


def _sides(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    return int(height), int(width or height)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mm.edit", description="One edit on a local diffusers model, and a page that shows what it did.")
    parser.add_argument("--model", required=True, help="folder of a pipeline of diffusers, with weights in safetensors")
    parser.add_argument("--prompt", required=True, help="caption of the source")
    parser.add_argument("--to", help="caption of what it is to become; the same by default where --rescale is given")
    parser.add_argument("--image", help="the picture to edit; the model draws one of the seed by default")
    parser.add_argument("--recipe", help="YAML such as configs/edit/recipe/swap.yaml; Prompt-to-Prompt's defaults for the captions by default")
    parser.add_argument("--steps", type=int, help="of the sampler (default: the recipe's, 50)")
    parser.add_argument("--guidance", type=float, help="classifier-free, or what a distilled model is told (default: the recipe's, 7.5)")
    parser.add_argument("--cross", type=float, help="share of the run that words take the source's maps (default: the recipe's, 0.8)")
    parser.add_argument("--self", dest="self_", metavar="SELF", type=float,
                        help="share of the run that pixels take the source's map among themselves (default: the recipe's, 0.4; 0.5 with --image)")
    parser.add_argument("--blend", metavar="WORD,WORD", help="of source and target: outside of where these are, the picture stays the source's")
    parser.add_argument("--words", metavar="WORD,...", help="whose heat maps are wanted besides those of the words that differ")
    parser.add_argument("--rescale", metavar="WORD=FACTOR", nargs="+", help="words of the target that get so many times their attention")
    parser.add_argument("--seed", type=int, default=0, help="of the noise, where there is no picture (default: 0)")
    parser.add_argument("--side", type=_sides, metavar="N or HxW", help="pixels of a picture that the model draws (default: what it is made for)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda ... (default: cpu)")
    parser.add_argument("--dtype", help="float32, bfloat16 or float16 (default: as the weights were saved)")
    parser.add_argument("--out", default="edited", help="folder of what is written (default: edited)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
