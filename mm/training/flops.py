"""How much arithmetic a batch asks for, and how much the machine could do: model FLOP/s utilisation."""
import time

import torch
from torch import nn

from mm.models import VLM
from mm.models.batch import Batch

# dense bfloat16 peak of the data sheets, FLOP/s
PEAKS = {"H100": 989e12, "H200": 989e12, "GH200": 989e12, "B200": 2250e12, "A100": 312e12, "A800": 312e12, "L40S": 362e12, "L4": 121e12,
         "4090": 165e12}

FEATURE_MAPS = ("attention.key.weight", "attention.value.weight")  # of blocks of a stream; the others take tokens


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the data sheet for a known GPU; otherwise of a matrix product measured here, with the threads that training uses."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for known in sorted(PEAKS, key=len, reverse=True):
            if known in name:
                return PEAKS[known]
    size = 4096 if device.type == "cuda" else 512
    drawn = torch.Generator(device).manual_seed(0)  # its own: a measurement must not move the run's random numbers
    a = torch.randn(size, size, generator=drawn, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        (a @ a).sum().item()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def size(part: nn.Module) -> tuple[int, bool]:
    """Parameters that multiply every token (lookup tables are read, not multiplied), and whether any of them trains."""
    tables = {id(module.weight) for module in part.modules() if isinstance(module, nn.Embedding)}
    parameters = [parameter for parameter in part.parameters() if id(parameter) not in tables]
    return sum(parameter.numel() for parameter in parameters), any(parameter.requires_grad for parameter in parameters)


class Work:
    """FLOP of a training step: 6 per parameter and token where it trains, 4 where gradients only pass through, 2 where they do not reach, plus
    12 · layers · width · N² / 2 a row for attention. Padding, recomputation and what a mask allows beyond the causal half are not counted as work;
    of the blocks of a stream the maps are, their attention is not.
    """

    def __init__(self, vlm: VLM) -> None:
        vision, vision_trains = size(vlm.vision)
        projector, projector_trains = size(vlm.projector)
        model = vlm.language.model
        head, language_trains = model.get_output_embeddings().weight, size(model)[1]
        blocks = size(model)[0] - (0 if head is model.get_input_embeddings().weight else head.numel())
        rows, cols = vlm.vision.grid
        self.frame = rows * cols * (vision * (6 if vision_trains else 2) + projector * (6 if projector_trains else 4 if vision_trains else 2))
        self.token, self.label = blocks * (6 if language_trains else 4), head.numel() * (6 if language_trains else 4)
        for name, parameter in () if vlm.streams is None else vlm.streams.named_parameters():
            if name.startswith("reader.") or name.endswith(FEATURE_MAPS):
                self.frame += rows * cols * parameter.numel() * (6 if parameter.requires_grad else 2)
            else:
                self.token += parameter.numel() * (6 if parameter.requires_grad else 4)
        config = model.config.get_text_config()
        self.pair = 12 * config.num_hidden_layers * config.hidden_size / 2

    def of(self, batch: Batch, tokens: float, labels: float) -> float:
        """FLOP of a batch with so many real tokens and labels."""
        length = tokens / max(1, batch.input_ids.shape[0])
        return self.token * tokens + self.label * labels + self.frame * batch.pixels.shape[0] + self.pair * tokens * length

