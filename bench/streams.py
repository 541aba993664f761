"""What CrossLMM's blocks spare: FLOP and time of a prefill with few visual tokens and Dual blocks, against many tokens without.

    python -m bench.streams

One thread, float32 on a CPU. A decoder 256 wide, of 4 layers with 8 heads over 2 key heads and an MLP of 768, reads 64 tokens of text behind a clip
of 32 frames with 729 features each, 288 wide, through an MLP projector. FLOP as PyTorch counts them, and as `mm.streams.costs` does. Below, the
published costs of the 7B model and the accounting that gives them.
"""
import time
from dataclasses import dataclass
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from bench.machine import machine
from mm.keep import Pool
from mm.language import insert
from mm.language.streams import SOURCES
from mm.streams import MLP, DualCrossAttention, OwnFrame, Scope, Shape, Sources, WholeMedium, costs
from mm.tokens import Kind, Role, TokenMap

SHAPE, LAYERS, SOURCE = Shape(width=256, heads=8, key_heads=2, head_width=32, hidden=768, eps=1e-6), 4, 288
FRAMES, SIDE, TEXT = 32, 27, 64
QWEN = Shape(width=3584, heads=28, key_heads=4, head_width=128, hidden=18944, eps=1e-6)
PUBLISHED = {32: 13.17, 64: 25.92, 128: 51.43, 256: 102.42}  # CrossLMM 7B at 9 tokens a frame, by frames


@dataclass(frozen=True)
class Setting:
    """side: of the pooled tokens of a frame. every: layers that get a block, 0 for none."""

    name: str
    side: int
    every: int = 0
    scope: Scope | None = None
    text: int = TEXT

    @property
    def visual(self) -> int:
        return FRAMES * self.side**2

    @property
    def flop(self) -> int:
        """By formula."""
        features = FRAMES * SIDE**2
        macs = costs.projector(SOURCE, SHAPE.width, self.visual) + costs.decoder(SHAPE, LAYERS, self.visual + self.text)
        if self.every:
            groups = FRAMES if isinstance(self.scope, OwnFrame) else 1
            macs += len(range(self.every, LAYERS + 1, self.every)) * costs.dual(SHAPE, SOURCE, self.visual, self.text, features, groups)
        return 2 * macs


ALL, FEW, POOLED = Setting("all tokens", SIDE), Setting("196 a frame", 14), Setting("9 a frame, no blocks", 3)
DUAL, OWN = Setting("9 a frame, Dual K=4", 3, 4, WholeMedium()), Setting("9 a frame, Dual K=4, own frame", 3, 4, OwnFrame())
SETTINGS = (ALL, FEW, POOLED, DUAL, OWN, Setting("9 a frame, Dual K=1", 3, 1, WholeMedium()), Setting("1 a frame, Dual K=4", 1, 4, WholeMedium()))


def published(frames: int) -> float:
    """TFLOP as CrossLMM's cost table counts them (inferred): multiply-accumulates once; SigLIP's first 26 layers with their attention; projector,
    maps and head of Qwen2.5-7B on 9 tokens a frame and 60 of text, without attention; maps of 7 Dual blocks, without attention.
    """
    visual, tokens = 9 * frames, 9 * frames + 60
    macs = frames * costs.tower(1152, 4304, 26, 729, patch=3 * 14 * 14) + costs.projector(1152, QWEN.width, visual)
    macs += 28 * costs.layer_maps(QWEN, tokens) + tokens * QWEN.width * 152064
    return (macs + 7 * costs.dual_maps(QWEN, 1152, tokens, 729 * frames)) / 1e12


def tokens_of(setting: Setting) -> TokenMap:
    """The clip, then text."""
    text = TokenMap.text(torch.ones(1, setting.visual + setting.text))
    visual = torch.arange(text.shape[1])[None] < setting.visual
    frame = torch.where(visual, text.index // setting.side**2, -1)
    return TokenMap(torch.where(visual, int(Kind.VISION), int(Kind.TEXT)), text.document, text.branch, torch.where(visual, 0, -1), frame, text.row,
                    text.col, torch.full_like(frame, int(Role.QUESTION)), text.turn, text.position, text.index)


class Prefill:
    """Projector, decoder and blocks of one setting, and a clip to read."""

    def __init__(self, setting: Setting) -> None:
        torch.manual_seed(0)
        self.setting = setting
        self.model = model()
        self.projector = MLP(SOURCE, SHAPE.width)
        self.features, self.text = torch.randn(FRAMES, SIDE**2, SOURCE), torch.randn(1, setting.text, SHAPE.width)
        self.tokens = tokens_of(setting)
        if setting.every:
            insert(self.model, DualCrossAttention(setting.every, scope=setting.scope), SOURCE)

    @torch.no_grad()
    def __call__(self) -> torch.Tensor:
        pooled = self.features if self.setting.side == SIDE else Pool(self.setting.side)(self.features, (SIDE, SIDE))
        embeds = torch.cat([self.projector(pooled, (self.setting.side,) * 2).flatten(0, 1)[None], self.text], 1)
        sources = {SOURCES: Sources.of_frames(self.features, [FRAMES], self.tokens)} if self.setting.every else {}
        return self.model.base_model(inputs_embeds=embeds, use_cache=False, **sources).last_hidden_state

    def counted(self) -> int:
        """FLOP as PyTorch counts them."""
        with FlopCounterMode(display=False) as counter:
            self()
        return counter.get_total_flops()


def model() -> PreTrainedModel:
    config = LlamaConfig(vocab_size=32, hidden_size=SHAPE.width, intermediate_size=SHAPE.hidden, num_hidden_layers=LAYERS,
                         num_attention_heads=SHAPE.heads, num_key_value_heads=SHAPE.key_heads, max_position_embeddings=32768)
    return LlamaForCausalLM(config).eval()


def main() -> None:
    torch.set_num_threads(1)
    print(machine())
    found: dict[str, float] = {}
    print(f"{'':32s}{'tokens':>8s}{'GFLOP':>10s}{'counted':>10s}{'s':>9s}{'all / it':>16s}{'196 / it':>16s}")
    for setting in SETTINGS:
        prefill = Prefill(setting)
        counted = prefill.counted()
        times = []
        for _ in range(1 if setting is ALL else 3 if setting is FEW else 9):
            start = time.process_time()
            prefill()
            times.append(time.process_time() - start)
        found[setting.name] = median(times)
        ratios = [f"{other.flop / setting.flop:8.1f} {found[other.name] / found[setting.name]:7.1f}" if other.name in found else ""
                  for other in (ALL, FEW)]
        print(f"{setting.name:32s}{setting.visual + setting.text:8d}{setting.flop / 1e9:10.2f}{counted / 1e9:10.2f}{found[setting.name]:9.3f}"
              + "".join(f"{ratio:>16s}" for ratio in ratios), flush=True)
    print("\nall / it and 196 / it: how many times as many FLOP, and as much time\n")
    print("frames  published  by the accounting of mm.streams.costs")
    for frames, cost in PUBLISHED.items():
        print(f"{frames:6d}  {cost:9.2f}  {published(frames):9.3f}")


if __name__ == "__main__":
    main()
