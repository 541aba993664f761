"""Ways of decoding that need more than the next logits: a second branch, a second look, beams that look back."""
from mm.decoding.base import Decoding, Plain, Stepwise
from mm.decoding.contrast import Contrast, Contrasted, plausible
from mm.decoding.search import Choice, Greedy, Sampled, Spoken, decoded, spoken
from mm.decoding.vcd import VCD

__all__ = ["Decoding", "Stepwise", "Plain", "Choice", "Greedy", "Sampled", "Spoken", "decoded", "spoken",
           "Contrast", "Contrasted", "plausible", "VCD"]
