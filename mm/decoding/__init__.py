"""Ways of decoding that need more than the next logits: a second branch, a second look, beams that look back."""
from mm.decoding.agla import AGLA
from mm.decoding.base import Decoding, Plain, Stepwise
from mm.decoding.beams import BeamSearch
from mm.decoding.beside import Beside
from mm.decoding.carve import CARVE
from mm.decoding.contrast import Contrast, Contrasted, plausible
from mm.decoding.icd import ICD
from mm.decoding.lever_contrast import LeverContrast
from mm.decoding.local_view import LocalView, Looked
from mm.decoding.m3id import M3ID
from mm.decoding.only import ONLY
from mm.decoding.opera import OPERA
from mm.decoding.pai_guidance import PAIGuidance
from mm.decoding.regions import Largest, MostAttended, NotTiny, Regions
from mm.decoding.search import Choice, Greedy, Sampled, Spoken, decoded, spoken
from mm.decoding.vcd import VCD

__all__ = ["Decoding", "Stepwise", "Plain", "Choice", "Greedy", "Sampled", "Spoken", "decoded", "spoken", "Contrast", "Contrasted", "Beside",
           "plausible", "VCD", "ICD", "PAIGuidance", "M3ID", "AGLA", "LocalView", "Looked", "ONLY", "LeverContrast",
           "BeamSearch", "OPERA", "CARVE", "Regions", "MostAttended", "Largest", "NotTiny"]
