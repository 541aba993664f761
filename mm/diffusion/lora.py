"""LoRA: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022; put into a denoiser by PEFT."""
from pathlib import Path

from mm.diffusion.denoisers import denoiser
from mm.diffusion.source import Pipeline


class LoRA:
    """rank; alpha: the products are scaled by alpha / rank. targets: ends of the names of the layers that get one, attention by default."""

    def __init__(self, rank: int = 8, alpha: int = 8, targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0"),
                 dropout: float = 0.0) -> None:
        self.rank, self.alpha, self.targets, self.dropout = rank, alpha, tuple(targets), dropout

    def add(self, pipeline: Pipeline) -> None:
        """Give the denoiser adapters, which have no effect until they are trained. Its own weights stop training.

        ValueError for a denoiser that takes none in diffusers, as PixArt's; RuntimeError without the peft package.
        """
        try:
            from peft import LoraConfig
        except ImportError as error:
            raise RuntimeError("LoRA needs the peft package: pip install 'mm-attention[lora]'.") from error
        network = denoiser(pipeline).network
        if not hasattr(network, "add_adapter"):
            raise ValueError(f"diffusers puts no adapters into {type(network).__name__}; train its weights, whole or in part: leave lora out, "
                             "and name them in train.")
        network.requires_grad_(False)
        config = LoraConfig(r=self.rank, lora_alpha=self.alpha, target_modules=list(self.targets), lora_dropout=self.dropout,
                            init_lora_weights="gaussian")
        network.add_adapter(config)

    def save(self, pipeline: Pipeline, folder: Path) -> None:
        """The adapter alone, as `pipe.load_lora_weights(folder)` reads it."""
        from diffusers.utils import convert_state_dict_to_diffusers
        from peft import get_peft_model_state_dict
        part = denoiser(pipeline).part
        layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(getattr(pipeline, part)))
        pipeline.save_lora_weights(folder, **{f"{part}_lora_layers": layers})

    def merge(self, pipeline: Pipeline) -> None:
        """Add the products to the weights, and take the adapters out."""
        pipeline.fuse_lora(components=[denoiser(pipeline).part])
        pipeline.unload_lora_weights()
