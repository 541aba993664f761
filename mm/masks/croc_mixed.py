"""Croc's mixed attention: Xie et al., "Croc: Pretraining Large Multimodal Models with Cross-Modal Comprehension", 2024."""
from mm.masks.context_bidirectional import ContextBidirectional


class CrocMixed(ContextBidirectional):
    """All before the first answer token in both directions, the rest causal: the rule of `ContextBidirectional`, under its other name.

    Croc calls it bidirectional visual attention; in the release it reaches over system text and the first question too, and is that only for captions
    without an instruction. Croc has it in its stage of detailed captions (1.5) alone; its instruction tuning and inference are causal. There, left
    padding is visible to everybody and a row without labels is wholly bidirectional; here padding never is seen.
    """
