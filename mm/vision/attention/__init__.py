"""Attention methods of vision encoders: which features see which, and how a class is read from them. One file an idea."""
from mm.vision.attention.bilevel_routing import BilevelRouting
from mm.vision.attention.regional import regional_attention
from mm.vision.attention.windows import Windows

__all__ = ["BilevelRouting", "regional_attention", "Windows"]
