"""python -m eval.custom --pipeline runs/edit/pipeline --customiser runs/custom/customiser: how often a word takes its colour from a picture.

The captions leave the subject's colour out. Arms: the pipeline alone, the picture everywhere, and the picture under the word's own mask. One row
each, with 95 % intervals; all start from the same noise.
"""
import argparse
import sys
from collections.abc import Sequence

import torch

from data.world.sampling import World
from data.world.subjects import Subject, Subjects
from eval.custom.measuring import measured
from mm.diffusion import Pretrained
from mm.diffusion.custom import AdaptiveMask, Customiser, RealCustom
from mm.diffusion.denoisers import denoiser

CELLS = (5, 6, 9, 10)  # that the middle 32 px show


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.custom", description="Does a word take its colour from a picture?")
    parser.add_argument("--pipeline", required=True, help="folder of the pipeline, like runs/edit/pipeline")
    parser.add_argument("--customiser", required=True, help="folder of what was trained for it, like runs/custom/customiser")
    parser.add_argument("--count", type=int, default=64, help="subjects (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=25, help="of the sampler (default: %(default)s)")
    parser.add_argument("--guidance", type=float, default=3.5, help="default: %(default)s")
    parser.add_argument("--shapes", nargs="+", default=["circle", "square", "triangle"], help="that the pipeline can draw")
    parser.add_argument("--colours", nargs="+", default=["red", "green", "blue", "yellow"], help="that it can draw")
    given = parser.parse_args(arguments)
    world = World(objects=(2, 2), repeat=0.0, home=0.0, typical=0.0, contexts=(1.0, 0.0, 0.0, 0.0), grain=0.0, visibility=(1.0, 1.0), every_pair=True,
                  shapes=tuple(given.shapes), colours=tuple(given.colours), cells=CELLS)
    test = Subjects("test", given.count, world=world, unsaid=1.0, side=32)
    subjects = [test.subject(index) for index in range(len(test))]
    behind = denoiser(Pretrained(given.pipeline).build(lambda count, side: torch.zeros(0)))
    arms = {"pipeline alone": AdaptiveMask(), "picture everywhere": AdaptiveMask(1.0, values="binary"), "picture under the mask": AdaptiveMask()}
    for name, mask in arms.items():
        customiser = Customiser.load(given.customiser)
        if name == "pipeline alone":
            for value in customiser.stream.values.values():
                torch.nn.init.zeros_(value.weight)  # type: ignore[arg-type]
        loop = RealCustom(behind, customiser, mask, given.guidance)

        def draw(subject: Subject, loop: RealCustom = loop) -> torch.Tensor:
            reference = torch.from_numpy(subject.reference.copy()).permute(2, 0, 1)
            noise = torch.Generator().manual_seed(subject.scene.noise % 2**32)
            return loop(subject.caption, [subject.thing.shape], [reference], given.steps, generator=noise).pictures[0]

        scores = measured(subjects, draw)
        said = (f"{label} {score.value:.2f} [{score.low:.2f}, {score.high:.2f}]" for label, score in scores.items())
        print(f"{name:24}" + "  ".join(said), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
