"""Whether learning a picture's nouns makes them look at their objects: `python -m bench.dpl runs/edit`, a trained run of configs/edit/world.yaml.

Pictures of the world, whose objects' masks are known. Before and after, each noun's attention is averaged over all steps; its area is as many pixels
as the object covers, those it looks at most. The source is held to its trajectory, so both are read off the same latents.
"""
import argparse
import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import yaml
from torch import Tensor

from data.world import Edits, World
from data.world.render import object_mask
from data.world.scene import CANVAS
from mm.diffusion.denoisers import denoiser
from mm.diffusion.dynamic import DPL, AttentionReader, Held, Learning, LocInv, Scene, scene
from mm.diffusion.inversion import DDIM
from mm.diffusion.leakage import of_nouns


def overlap(attention: Tensor, mask: Tensor) -> tuple[float, float]:
    """IoU of the noun's area with mask [H, W], and the share of its attention inside; attention [h, w]."""
    large = torch.nn.functional.interpolate(attention[None, None], size=mask.shape, mode="bilinear")[0, 0]
    area = torch.zeros(mask.numel(), dtype=torch.bool)
    area[large.flatten().topk(int(mask.sum())).indices] = True
    area = area.view_as(mask)
    return (area & mask).sum().item() / (area | mask).sum().item(), (large[mask].sum() / large.sum()).item()


def pictured(model: Any, edits: Edits, index: int, steps: int, reader: AttentionReader, words: str) -> tuple[Scene, Tensor]:
    """The scene of one picture of the world, and its objects' masks [N, H, W]."""
    edit, sample = edits.edit(index), edits[index]
    picture, caption = torch.from_numpy(sample.media[0].frames[0]), sample.turns[0].answer
    rim = (CANVAS - len(picture)) // 2
    latents = model.encode(picture.permute(2, 0, 1)[None].float() / 127.5 - 1)
    nouns = [thing.shape if words == "shape" else thing.name for thing in edit.before.objects]
    text, negative = model.text([caption])
    trajectory = DDIM().invert(model, model.schedule(steps, latents), latents, text, negative)
    masks = torch.stack([torch.from_numpy(object_mask(thing)[rim:CANVAS - rim, rim:CANVAS - rim] > 0.5) for thing in edit.before.objects])
    return scene(model, trajectory, caption, nouns, reader=reader), masks


def measured(where: Scene, maps: Sequence[Tensor], masks: Tensor) -> Tensor:
    """[nouns, 2] of maps [H, W, K] of all steps."""
    words = of_nouns(torch.stack(list(maps)).mean(0), where.nouns)
    return torch.tensor([overlap(word, mask) for word, mask in zip(words, masks, strict=True)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder with pipeline/ and config.yaml")
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--words", choices=("shape", "both"), default="both", help="which words of an object count as its noun")
    parser.add_argument("--at", type=float, default=1.0, help="latent rows to a row of the attentions that count")
    given = parser.parse_args()
    from diffusers import StableDiffusionPipeline
    settings = yaml.safe_load((given.run / "config.yaml").read_text())["data"]["train"]["init_args"]
    world: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in settings["world"].items()}
    edits = Edits(**(settings | {"world": World(**world), "split": "val", "size": given.scenes}))
    for part in json.loads((given.run / "pipeline/model_index.json").read_text()).values():
        if isinstance(part, list) and str(part[0]).startswith("mm."):
            import_module(part[0])  # diffusers imports no module just because a pipeline names one
    model = denoiser(StableDiffusionPipeline.from_pretrained(given.run / "pipeline"))
    reader = AttentionReader(model.network, model, words_at=given.at, pixels_at=given.at)
    found: dict[str, list[Tensor]] = {"before": [], "DPL": [], "LocInv": []}
    seconds = dict.fromkeys(found, 0.0)
    for index in range(given.scenes):
        where, masks = pictured(model, edits, index, given.steps, reader, given.words)
        with torch.no_grad():
            text = where.wording.text(where.prompt)
            maps = [reader.words(where.trajectory.latents[step], where.timestep(step), text)[0] for step in range(given.steps)]
        found["before"].append(measured(where, maps, masks))
        methods: dict[str, Learning] = {"DPL": DPL(updates=given.updates, following=Held()),
                                        "LocInv": LocInv(masks, updates=given.updates, following=Held())}
        for name, method in methods.items():
            where, _ = pictured(model, edits, index, given.steps, reader, given.words)  # with the words as they were
            start = perf_counter()
            learned = method.learn(where)
            seconds[name] += perf_counter() - start
            found[name].append(measured(where, list(learned.maps), masks))
    plain = torch.cat(found["before"])
    for name, values in found.items():
        after = torch.cat(values)
        gain = after[:, 0] - plain[:, 0]
        print(f"{name:8} IoU {after[:, 0].mean():.3f}, gained {gain.mean():+.3f} ± {gain.std() / len(gain) ** 0.5:.3f}; "
              f"inside {after[:, 1].mean():.3f}; "
              f"{len(gain)} nouns; {seconds[name] / given.scenes:.1f} s a picture")


if __name__ == "__main__":
    main()
