"""MULTI-LANE as a classifier: De Min et al., "Less is more: Summarizing Patch Tokens for efficient Multi-Label Class-Incremental Learning", CoLLAs
2024."""
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mm.vision.attention.lanes import Places, lane_block
from mm.vision.timm import create


class MultiLane(nn.Module):
    """A frozen vision transformer of timm with a class token, a lane for each task, and one linear classifier over all classes.

    Args:
        name, pretrained, image_size, overrides: of the transformer, as in `mm.vision.Timm`.
        classes: number of classes of each task, in order. selectors: S of a lane. prompts: K of a lane in each of the first `prompted` layers.
        places: see `lane_block`.

    Train one lane at a time: `forward(x, tasks=[t])` touches no other. The frozen pass is computed once for all lanes and takes no gradient.
    ValueError for a transformer without a class token, with register tokens, or with blocks other than timm's plain one, whose attention alone
    `lane_block` knows.
    """

    def __init__(self, name: str, classes: Sequence[int], selectors: int = 20, prompts: int = 20, prompted: int = 5, places: Places = "replace",
                 pretrained: bool = True, image_size: int | None = None, overrides: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.name, self.classes, self.selectors, self.prompts, self.prompted = name, list(classes), selectors, prompts, prompted
        self.places, self.pretrained, self.image_size, self.overrides = places, pretrained, image_size, overrides
        vit = create(name, {"pretrained": pretrained, "num_classes": 0, **(overrides or {})}, image_size)
        if getattr(vit, "cls_token", None) is None or vit.num_prefix_tokens != 1:
            raise ValueError(f"MultiLane: {name} has no class token alone before its patches; use a plain vit_* model")
        if not all(is_plain(block) for block in vit.blocks):
            raise ValueError(f"MultiLane: {name} has blocks of another form than timm's plain Block and Attention; use a plain vit_* model")
        if prompted > len(vit.blocks):
            raise ValueError(f"MultiLane: {name} has {len(vit.blocks)} layers, of which {prompted} cannot be prompted")
        self.vit = vit.requires_grad_(False).eval()
        heads, width = vit.blocks[0].attn.num_heads, vit.embed_dim
        self.selector = nn.Parameter(0.02 * torch.randn(len(classes), selectors, width))
        self.prompt = nn.Parameter(0.02 * torch.randn(prompted, 2, len(classes), prompts, heads, width // heads))
        self.classify = nn.Linear(width, sum(classes))
        self.register_buffer("task", torch.repeat_interleave(torch.arange(len(classes)), torch.tensor(list(classes))), persistent=False)
        self.task: Tensor

    def rebuild(self) -> dict[str, Any]:
        return {"class_path": "mm.vision.attention.MultiLane", "init_args": {
            "name": self.name, "classes": self.classes, "selectors": self.selectors, "prompts": self.prompts, "prompted": self.prompted,
            "places": self.places, "pretrained": False, "image_size": self.image_size, "overrides": self.overrides}}

    def train(self, mode: bool = True) -> "MultiLane":
        """The transformer stays in evaluation mode: it is frozen."""
        super().train(mode)
        self.vit.eval()
        return self

    def forward(self, pictures: Tensor, tasks: Sequence[int] | None = None) -> Tensor:
        """Logits [B, classes] of normalised pictures [B, 3, H, W]; −inf for classes of tasks other than `tasks`, all by default.

        A loss for several labels reads the columns of `tasks` alone (`self.task`): the binary cross-entropy of −inf is NaN. ValueError for a task
        that there is not.
        """
        every = range(len(self.classes))
        running = list(every if tasks is None else tasks)
        if not running or not set(running) <= set(every):
            raise ValueError(f"MultiLane has the tasks 0 to {len(self.classes) - 1}, of which one or more run; got {running}")
        token = normalize(self.tokens(pictures, running), dim=-1)
        logits = self.classify(token)  # [T, B, classes], of which each lane speaks for its own
        out = logits.new_full(logits.shape[1:], -torch.inf)
        for lane, task in enumerate(running):
            out = torch.where(self.task == task, logits[lane], out)
        return out

    def tokens(self, pictures: Tensor, tasks: Sequence[int]) -> Tensor:
        """Class token [T, B, width] of the lanes of `tasks`, after the transformer's last norm."""
        with torch.no_grad():
            x = self.vit.norm_pre(self.vit._pos_embed(self.vit.patch_embed(pictures)))
        lanes = torch.cat([x[None, :, :1].expand(len(tasks), -1, -1, -1),
                           self.selector[list(tasks), None].expand(-1, len(x), -1, -1)], 2)
        for layer, block in enumerate(self.vit.blocks):
            prompts = self.prompt[layer][:, list(tasks)] if layer < self.prompted else None
            lanes = lane_block(block, x, lanes, prompts, self.places, summarise=self.places == "replace" or layer == 0)
            with torch.no_grad():
                x = block(x)
        return self.vit.norm(lanes[:, :, 0])


def is_plain(block: Any) -> bool:
    """Whether a block of timm is nothing but norms, attention, MLP and layer scales."""
    from timm.models.vision_transformer import Attention, Block  # takes seconds

    return (type(block) is Block and type(block.attn) is Attention and isinstance(getattr(block.attn, "norm", nn.Identity()), nn.Identity)
            and getattr(block.attn, "gate", None) is None)
