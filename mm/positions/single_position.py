"""An image at one place: Xing et al., "Mitigating Object Hallucination via Concentric Causal Attention" (CCA), NeurIPS 2024, with a single ring.

No part of a picture is nearer to the question than another.
"""
from mm.positions.by_image import ByImage, Images
from mm.tokens import TokenMap


class SinglePosition(ByImage):
    """All tokens of one image share one position, and the image takes up that one. Needs no grid.

    With `mm.masks.PositionCausal` this is an image block: its tokens see each other. Frames of a clip follow one another. No published model is known
    to us that uses it as it stands; it is here for ablations.
    """

    def spread(self, tokens: TokenMap, images: Images) -> tuple[int, int]:
        return 0, 1
