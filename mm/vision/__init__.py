"""Image encoders behind one protocol: uint8 pictures in, a grid of features out."""
from mm.vision.base import VisionEncoder
from mm.vision.conv_vit import ConvViT
from mm.vision.feature_cache import FeatureCache
from mm.vision.openclip import OpenCLIP
from mm.vision.pixels import Pixels
from mm.vision.probing import EfficientProbing
from mm.vision.resize import CenterCrop, PadToSquare, Resize, Squash
from mm.vision.timm import Timm
from mm.vision.transformers import Transformers

__all__ = ["VisionEncoder", "ConvViT", "OpenCLIP", "Pixels", "Timm", "Transformers", "EfficientProbing", "FeatureCache", "Resize", "CenterCrop",
           "PadToSquare", "Squash"]
