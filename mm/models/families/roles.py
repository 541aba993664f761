"""Who speaks, and in which turn, as far as labels tell."""
import torch
from torch import Tensor
from torch.nn.functional import pad

from mm.models.batch import UNLABELLED
from mm.tokens import Role


def roles(real: Tensor, vision: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """(role, turn), each int64 [B, N], from bool [B, N] of real and of visual tokens, and labels [B, N] that stand under their own tokens.

    Labelled text is ANSWER. Text before the first image is SYSTEM, of no turn, unless there is an answer in it: then the dialogue began without an
    image. All else, images included, is QUESTION. What follows an answer begins the next turn, be it an image or what a chat template writes there.
    """
    answer = torch.zeros_like(real) if labels is None else real & ~vision & (labels != UNLABELLED)
    leads = real & (vision.cumsum(1) == 0)
    system = leads & vision.any(1, keepdim=True) & ~(leads & answer).any(1, keepdim=True)
    role = torch.full_like(real, Role.QUESTION, dtype=torch.long)
    for which, here in ((Role.ANSWER, answer), (Role.SYSTEM, system), (Role.PAD, ~real)):
        role[here] = int(which)
    turn = (real & ~answer & pad(answer, (1, 0))[:, :-1]).cumsum(1)
    return role, turn.masked_fill(system | ~real, -1)
