"""How much each key is looked at: means over the columns of the attention matrix, streamed a window of rows at a time."""
import torch
from torch import Tensor

from mm.attention.call import Call
from mm.attention.rows import shared_product, softmax, windows


@torch.no_grad()
def column_means(call: Call, heads: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
    """Mean weight of each key over the rows that see it, [B, H, N], in the precision of masses; memory O(window x N).

    heads: bool [H], the heads to look at, others stay 0; None for all. rows: bool [B, Q], the rows to count; None for all. Costs about what attention
    in these heads does.
    """
    chosen = torch.arange(call.q.shape[1], device=call.q.device) if heads is None else heads.to(call.q.device).nonzero().flatten()
    q, k = call.q.index_select(1, chosen), call.k.index_select(1, chosen // call.shared)
    total = torch.zeros(q.shape[0], len(chosen), call.keys, dtype=call.precision, device=q.device)
    count = torch.zeros(call.keys, dtype=call.precision, device=q.device)
    counted = torch.ones(1, call.queries, device=q.device) if rows is None else rows
    counted = counted.to(call.precision)[:, None, :, None]  # [B or 1, 1, Q, 1]
    with torch.autocast(q.device.type, enabled=False):
        k = k.to(call.precision)
        for window in windows(torch.ones(call.queries, dtype=torch.bool), q, call.keys):
            stop = call.reach(window)
            seen = call.visible(window, stop)
            if seen is not None and seen.shape[1] > 1:
                seen = seen.index_select(1, chosen)
            scores = shared_product(q[:, :, window].to(call.precision) * call.factor, k[:, :, :stop].transpose(-1, -2))
            here = counted[:, :, window]
            weights = softmax(scores if seen is None else scores.masked_fill(~seen, -torch.inf), seen)
            total[..., :stop] += (weights * here).sum(2)
            many = here.sum(2) if seen is None else (seen * here).sum(2)
            count = count + torch.nn.functional.pad(many.expand(*many.shape[:-1], stop), (0, call.keys - stop))
    means = total.new_zeros(q.shape[0], call.q.shape[1], call.keys)
    means[:, chosen] = total / count.clamp(min=1.0)
    return means
