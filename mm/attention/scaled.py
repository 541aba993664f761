"""A factor on the scores of each key, for each head: the factor of a key is that of the key's vector, so the plain kernel does the rest."""
import torch
from torch import Tensor

from mm.attention.active import Active, scales_scores
from mm.attention.backend import repeat_heads
from mm.attention.call import Call


def score_factors(active: Active, call: Call) -> Tensor:
    """Factor on the scores of each key, [B, H, N]."""
    rule = active.rule
    assert scales_scores(rule)
    scales = rule.scales(active.layer).to(call.precision)
    if active.heads is not None:
        scales = torch.where(active.heads[:, None].to(scales.device), scales, 1.0)
    groups = active.key_groups(call.tokens.shape[1], call.keys).expand(-1, call.q.shape[1], -1)
    return scales.gather(1, groups.transpose(0, 1).flatten(1)).unflatten(1, (groups.shape[0], -1)).transpose(0, 1)


def scaled_keys(call: Call, actives: list[Active]) -> tuple[Tensor, Tensor]:
    """Keys [B, H, N, D] and values [B, H, N, Dv] of which plain attention is the attention under the factors of `actives`.

    Heads that share keys get their own: O(N) memory, as their factors differ. OverflowError where a scaled key leaves the range of float16.
    """
    keys = repeat_heads(call.k, call.shared).to(call.precision)
    for active in actives:
        keys = keys * score_factors(active, call).unsqueeze(-1)
    scaled = keys.to(call.k.dtype)
    if scaled.dtype == torch.float16 and bool((scaled.isinf() & keys.isfinite()).any()):
        raise OverflowError(f"under {actives[0].rule!r} a key reaches {float(keys.detach().abs().max()):.0f}, which float16 cannot hold; "
                            "run the model in bfloat16 or float32")
    return scaled, repeat_heads(call.v, call.shared)
