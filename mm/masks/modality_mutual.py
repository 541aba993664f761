"""Modality-mutual attention (MMA): Wang et al., "Seeing is Understanding: Unlocking Causal Attention into Modality-Mutual Attention
for Multimodal LLMs" (AKI), 2025.

A causal decoder hides the question from the image that stands before it. MMA lets image tokens read the question too.
"""
from typing import Literal, get_args

from torch import Tensor

from mm.masks.base import Mask
from mm.tokens import Kind, Role, TokenMap

Scope = Literal["first_turn", "all_turns"]


class ModalityMutual(Mask):
    """Causal, and image tokens also see the question that follows their image, up to where its answer begins. Images stay causal among themselves.

    Answers stay hidden from the image, so supervised training leaks no label; a loss on the question itself would mean nothing. Image keys depend on
    the question: a prefix cache must not be shared between questions, a prompt must not be prefilled in chunks that part the image from its question,
    and a trunk of branches has no question to read (`mm.models.Dialogue` lays a sample out so that it does).

    Args:
        scope: "first_turn", the turn that shows the image and no later one: through a later one, the answer of turn one would see the question of
            turn two, which has read that answer. "all_turns" is for prompts only; in training it leaks. The release knows one image and one turn.
    """

    chunkable = False
    shares_image_prefix = False

    def __init__(self, scope: Scope = "first_turn") -> None:
        if scope not in get_args(Scope):
            raise ValueError(f"ModalityMutual: scope is one of {', '.join(get_args(Scope))}; got {scope!r}")
        self.scope = scope

    def allow(self, q: TokenMap, k: TokenMap) -> Tensor:
        """[B, Q, 1] and [B, 1, N] views → bool [B, Q, N]."""
        question = q.is_vision & (k.kind == Kind.TEXT) & (k.role == Role.QUESTION)
        if self.scope == "first_turn":
            question = question & (k.turn == q.turn.clamp(min=0))  # an image before all turns is asked about in the first
        return (k.index <= q.index) | question
