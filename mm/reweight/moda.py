"""MODA's aligner: Zhang et al., "MODA: MOdular Duplex Attention for Multimodal Perception, Cognition, and Emotion Understanding", ICML 2025.

As in the released code, not as in the abstract: the modular masked attention is not in the release, and of the duplex only image keys are moved.
"""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mm.attention.active import Span
from mm.reweight.base import KeyRewrite
from mm.tokens import Kind, Role, TokenMap

SMALL = 1e-6


class MODA(nn.Module, KeyRewrite):
    """Image keys move towards what the text of the prompt says: k ← (k + ratio * n(k) G) map^T, where the rows of G are those of n(k_text)^T v_text.

    Args:
        first_layer, last_layer: inclusive, negative ones from the end; published for all.

    ratio: [layers, D], 0 at first. map: [layers, D, D], the identity at first (the release starts it at random, which is no plain model). Both are
    shared by the heads of a layer, and there once `measure` has told the head width. The text is that of the image's own turn and of those before it,
    answers left out: the release reads answers too, which leaks labels in training. An image's keys depend on its question, so branches with several
    questions are refused, and a prompt is read in one piece.
    """

    wants_whole = True  # image keys read their question
    shares_rows = False
    ratio: nn.Parameter | None
    map: nn.Parameter | None

    def __init__(self, first_layer: int = 0, last_layer: int = -1) -> None:
        super().__init__()
        self.first_layer = first_layer
        self.last_layer = last_layer
        self.register_parameter("ratio", None)
        self.register_parameter("map", None)

    def measure(self, key_heads: int, width: int) -> None:
        assert self.depth is not None, "measure comes after bind"
        if self.ratio is None:
            self.ratio = nn.Parameter(torch.zeros(self.depth, width))
            self.map = nn.Parameter(torch.eye(width).repeat(self.depth, 1, 1))
        elif self.ratio.shape != (self.depth, width):
            raise ValueError(f"MODA: its parameters are for {self.ratio.shape[0]} layers with heads {self.ratio.shape[1]} wide, and the model has "
                             f"{self.depth} and {width}; make one for this model")

    @property
    def is_neutral(self) -> bool:
        if self.ratio is None or self.map is None:
            raise ValueError("MODA does not know how wide heads are; call bind(layers, heads) and measure(key_heads, width), or give it to mm.VLM "
                             "or mm.steer")
        if torch.is_grad_enabled() and (self.ratio.requires_grad or self.map.requires_grad):
            return False
        return not bool(self.ratio.any()) and bool((self.map == torch.eye(self.map.shape[1], device=self.map.device)).all())

    def __repr__(self) -> str:
        return KeyRewrite.__repr__(self)

    def spans(self, tokens: TokenMap) -> list[Span]:
        """One for each turn that shows an image, of all rows together. ValueError where an image stands before several questions."""
        rows = [self._spans_of(tokens, row) for row in range(tokens.shape[0])]
        nothing = torch.zeros_like(tokens.is_vision[0])
        empty = Span(nothing, nothing)
        ranks = [[spans[rank] if rank < len(spans) else empty for spans in rows] for rank in range(max(map(len, rows), default=0))]
        return [Span(torch.stack([span.keys for span in rank]), torch.stack([span.sources for span in rank])) for rank in ranks]

    def _spans_of(self, tokens: TokenMap, row: int) -> list[Span]:
        asks = (tokens.kind[row] == Kind.TEXT) & (tokens.role[row] != Role.ANSWER)
        document, branch, answered, image = tokens.document[row], tokens.branch[row], tokens.answered[row], tokens.is_vision[row]
        if not bool(image.any()):
            return []
        found = []
        for place in torch.stack([document, branch, answered])[:, image].unique(dim=1).T:
            before = asks & (document == place[0]) & (answered <= place[2])
            others = branch[before & (branch != 0)].unique().tolist()
            if int(place[1]) == 0 and len(others) > 1:
                raise ValueError(f"MODA aligns an image to the question about it, and in row {row} an image stands before the questions of branches "
                                 f"{', '.join(map(str, others))}; lay samples out as mm.models.Dialogue does")
            mine = (branch == place[1]) | (branch == 0) | (place[1] == 0)
            found.append(Span(image & (document == place[0]) & (branch == place[1]) & (answered == place[2]), before & mine))
        return found

    def rewritten(self, layer: int, keys: Tensor, from_keys: Tensor, from_values: Tensor, given: Tensor) -> Tensor:
        assert self.ratio is not None
        assert self.map is not None
        if keys.shape[-1] != from_values.shape[-1] or keys.shape[-1] != self.ratio.shape[1]:
            raise ValueError(f"MODA adds values to keys, and in layer {layer} keys are {keys.shape[-1]} wide, values {from_values.shape[-1]}, its "
                             f"parameters {self.ratio.shape[1]}; leave such layers out with first_layer and last_layer")
        precise = torch.promote_types(keys.dtype, torch.float32)
        with torch.autocast(keys.device.type, enabled=False):
            k, texts, v = (x.to(precise) for x in (keys, from_keys, from_values))
            ratio, map_ = (parameter[layer].to(k) for parameter in (self.ratio, self.map))
            said = F.normalize(unit(texts).masked_fill(~given[:, None, :, None], 0.0).transpose(-1, -2) @ v, dim=-1)  # [B, Hk, D, D]
            return ((k + ratio * (unit(k) @ said)) @ map_.T).to(keys.dtype)


def unit(x: Tensor) -> Tensor:
    return F.normalize(x + SMALL, dim=-1)
