"""Pretrained vision-language models of transformers: what their prompts are made of, and where their decoders are. One family a file."""
from mm.models.families.base import Family, PlaceholderError
from mm.models.families.mapping import family_of, token_map

__all__ = ["Family", "PlaceholderError", "family_of", "token_map"]
