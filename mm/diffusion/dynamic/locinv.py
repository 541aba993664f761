"""LocInv: Tang et al., "LocInv: Localization-aware Inversion for Text-Guided Image Editing", 2024: Dynamic Prompt Learning with given masks."""
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from mm.diffusion.dynamic.following import AlongNullText, Following
from mm.diffusion.dynamic.learning import Goal, Learning, Scene
from mm.diffusion.leakage import Columns, Objective, Term, Threshold, dissimilarity, marginal_divergence, outside, unbound

ALIKE, OVERLAPPING, BOUND = Threshold(0.7, 50), Threshold(0.7, 25), Threshold(0.1, 50)


class LocInv(Learning):
    """Each noun looks where its object is known to be, and an adjective looks where its noun looks. Read in the released code, not run.

    Args:
        masks [N, H, W]: of 0 and 1, one a noun, at any size: drawn, segmented, or boxes. At the size of the maps a pixel has the share of it that is
            covered, which is ours.
        adjectives: for each noun, the keys of the adjective beside it, or () where it has none; None to leave them be.
        similarity, inside, marginal, binding: weights of the losses; the marginal divergence is off unless asked for, and nothing waits for it, as
            released. Its formula is corrected: `mm.diffusion.leakage.marginal_divergence` says how.
        alike, overlapping, bound: thresholds.
        updates, lr, weight_decay, following, words_at, pixels_at: see `Learning`; 31 updates of each kind a step, as released.
    """

    def __init__(self, masks: Tensor, adjectives: Columns | None = None, similarity: float = 1.0, inside: float = 1.0, marginal: float = 0.0,
                 binding: float = 2.0, alike: Threshold = ALIKE, overlapping: Threshold = OVERLAPPING, bound: Threshold = BOUND,
                 updates: int = 31, lr: float = 1e-3, weight_decay: float = 1e-2,
                 following: Following | None = None, words_at: float = 4, pixels_at: float = 2) -> None:
        super().__init__(updates, lr, weight_decay, AlongNullText(inner=31) if following is None else following, words_at, pixels_at)
        self.masks, self.adjectives = masks, adjectives
        self.similarity, self.inside, self.marginal, self.binding = similarity, inside, marginal, binding
        self.alike, self.overlapping, self.bound = alike, overlapping, bound

    def goal(self, scene: Scene) -> Goal:
        nouns = scene.nouns
        if len(self.masks) != len(nouns):
            raise ValueError(f"{len(self.masks)} masks for {len(nouns)} nouns; give one each, in the order of the nouns")
        pairs = [] if self.adjectives is None else list(zip(nouns, self.adjectives, strict=True))
        owners, adjectives = [noun for noun, adjective in pairs if adjective], [adjective for _, adjective in pairs if adjective]

        def masks(maps: Tensor) -> Tensor:
            return adaptive_avg_pool2d(self.masks[None].to(maps), (maps.shape[0], maps.shape[1]))[0]

        return Goal(Objective((Term("similarity", lambda maps: dissimilarity(maps, nouns, masks(maps)), self.similarity, self.alike),
                               Term("outside", lambda maps: outside(maps, nouns, masks(maps)), self.inside, self.overlapping),
                               Term("marginal", lambda maps: marginal_divergence(maps, nouns, masks(maps)), self.marginal),
                               Term("binding", lambda maps: unbound(maps, owners, adjectives), self.binding if owners else 0.0, self.bound))))
