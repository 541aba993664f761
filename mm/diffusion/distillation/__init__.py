"""Latents moved by what a diffusion model says of them, without sampling."""
from mm.diffusion.distillation.base import Distillation, Score
from mm.diffusion.distillation.dds import DDS
from mm.diffusion.distillation.sds import SDS

__all__ = ["Distillation", "Score", "SDS", "DDS"]
