"""Looking into a model: where its answers looked, which places decided them, pictures of both, and in which heads a rule helps."""
from mm.analysis.attention import Look, looks
from mm.analysis.frames import draw_frames_read, frames_read, frames_read_of
from mm.analysis.gamma_search import GammaSearch, search_gamma
from mm.analysis.head_search import HeadProfile, lever, search_heads
from mm.analysis.masses import Masses, masses
from mm.analysis.objective import Accuracy, Certainty, Objective
from mm.analysis.occlusion import occlusion
from mm.analysis.overlay import overlay, side_by_side
from mm.analysis.picture import seen
from mm.analysis.reading import Direct, Reading, Rollout

__all__ = ["looks", "Look", "Reading", "Direct", "Rollout", "Masses", "masses", "frames_read", "frames_read_of", "draw_frames_read", "occlusion",
           "overlay", "side_by_side", "seen", "Objective", "Accuracy", "Certainty", "HeadProfile", "search_heads",
           "GammaSearch", "search_gamma", "lever"]
