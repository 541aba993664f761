"""Pretrained vision-language models of transformers as they are used: samples in, answers and log-probabilities out."""
from mm.models.pretrained.load import is_pretrained
from mm.models.pretrained.vlm import Asked, PretrainedVLM, Said

__all__ = ["PretrainedVLM", "Asked", "Said", "is_pretrained"]
