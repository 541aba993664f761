"""Looking into a model: where its answers looked, which places decided them, and pictures of both."""
from mm.analysis.attention import Look, looks
from mm.analysis.occlusion import occlusion
from mm.analysis.overlay import overlay, side_by_side
from mm.analysis.picture import read_picture, seen
from mm.analysis.reading import Direct, Reading, Rollout

__all__ = ["looks", "Look", "Reading", "Direct", "Rollout", "occlusion", "overlay", "side_by_side", "read_picture", "seen"]
