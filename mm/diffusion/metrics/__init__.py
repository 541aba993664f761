"""What an edit changed, and whether it is what was asked for: metrics of two pictures, with encoders that the caller brings."""
from mm.diffusion.metrics.clip import (
    ImageTextEncoder,
    clip_directions,
    clip_scores,
    directions_of,
    edited_part,
    embed_images,
    embed_texts,
    scores_of,
)
from mm.diffusion.metrics.encoders import OpenCLIP, TransformersCLIP, clip_of
from mm.diffusion.metrics.perceptual import LPIPS
from mm.diffusion.metrics.pictures import Distance, mse, psnr, published, ssim
from mm.diffusion.metrics.rle import runs_to_mask
from mm.diffusion.metrics.structure import StructureDistance, keys_of, self_similarity, structure_distance

__all__ = ["mse", "psnr", "ssim", "published", "Distance", "LPIPS", "StructureDistance", "structure_distance", "self_similarity", "keys_of",
           "ImageTextEncoder", "clip_scores", "clip_directions", "embed_images", "embed_texts", "scores_of",
           "directions_of", "edited_part", "OpenCLIP", "TransformersCLIP", "clip_of", "runs_to_mask"]
