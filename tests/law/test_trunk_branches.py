"""Questions that begin alike, or that have no picture, go on behind a shared trunk inside their branch: each is read as alone."""
import pytest
import torch

from data.world import Scenes
from mm.masks import ImageBlock, Mask, PositionCausal, SinkWindow
from mm.models import VLM, Branches
from mm.models.continuation import Trunks
from mm.models.vlm_prompt import VLMPrompt
from mm.positions import Concentric, Positions, Restart
from mm.sample import Sample, Turn
from mm.tokens import Kind, Role, TokenMap
from tests.answering import made

LEVERS = {"block, restart": (ImageBlock(), Restart()), "block, concentric": (ImageBlock(), Concentric()), "window": (SinkWindow(2, 9), Restart()),
          "positions": (PositionCausal(), Concentric())}


def samples() -> list[Sample]:
    """Two about a picture that begin alike and differ in length, two about two pictures, one about none."""
    scenes = Scenes("test", 10, 0, questions=0)
    one, two = scenes[0].media, (*scenes[1].media, *scenes[3].media)
    asked = [(one, "is there a star ?"), (two, "is there a ring ?"), (one, "is there a red moon left of a blue ring ?"), ((), "describe the image ."),
             (two, "is there a red moon ?")]
    return [Sample(str(i), media, (Turn("<image>" * len(media) + question),)) for i, (media, question) in enumerate(asked)]


@torch.no_grad()
def anew(vlm: VLM, sample: Sample, ids: list[int]) -> torch.Tensor:
    """Logits behind the prompt and behind each of `ids`, from one pass over a row of its own."""
    batch = vlm.processor.collate([vlm.processor.prompt(sample)])
    embeds = torch.cat([vlm.embed(batch), vlm.language.embed(torch.tensor([ids]))], 1)
    whole = batch.tokens.extend(len(ids))
    whole = whole.at(vlm.positions.assign(whole))
    return vlm.language.head(vlm.language(embeds, vlm.mask, whole, whole.position))[0, batch.tokens.shape[1] - 1:]


@pytest.mark.parametrize("levers", LEVERS)
def test_rows_that_part_inside_their_branch_are_read_as_alone(levers: str) -> None:
    mask: Mask
    positions: Positions
    mask, positions = LEVERS[levers]
    vlm, asked, ids = made(mask, positions, Branches()), samples(), [7, 9]
    together = VLMPrompt(vlm, asked).continuation()
    assert isinstance(together, Trunks)
    found = torch.stack([together.begin(), *(together.step(torch.full((len(asked),), token)) for token in ids)], 1)
    torch.testing.assert_close(found, torch.stack([anew(vlm, sample, ids) for sample in asked]), atol=1e-4, rtol=1e-4)


def test_padding_within_a_branch_parts_nothing() -> None:
    """A trunk of two tokens, one of its branch, padding, two more of the branch."""
    kind = torch.tensor([[1, 1, 1, 0, 0, 1, 1]])
    real, none = kind != Kind.PAD, torch.full_like(kind, -1)
    tokens = TokenMap(
        kind=kind, document=real.long() - 1, branch=torch.tensor([[0, 0, 1, 0, 0, 1, 1]]), media=none, frame=none, row=none, col=none,
        role=real * Role.QUESTION, turn=real.long() - 1, position=torch.tensor([[0, 1, 2, 0, 0, 3, 4]]), index=torch.arange(7)[None])
    assert tokens.depth.tolist() == [[0, 1, 2, 0, 0, 3, 4]]
