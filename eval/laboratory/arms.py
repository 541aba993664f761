"""What is compared: masks that the demo model is trained with, each against a control that differs in nothing else."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Arm:
    """A training run but for its seed.

    overlays: configurations over the base, from the root of the repository, later wins. control: the arm it is compared with, None for a control.
    after: the arm from whose weights (of the same seed) it starts, with a part of the steps. label, about: for readers.
    """

    name: str
    label: str
    about: str
    overlays: tuple[str, ...]
    control: str | None = None
    after: str | None = None


LEVER = "configs/lever/"
ALONE = "configs/stage/alone.yaml"

# Modality-mutual attention lets a picture read its question. Behind a picture that nine turns share there is no such question, and of a dialogue it
# would read the first turn only, which asks for a caption. So it is tuned on rows of one question, from the causal model, and its control is the same
# tuning under the causal mask: more training on other rows is then no difference between the two.
ARMS = (
    Arm("causal", "causal", "each token sees what came before it", (LEVER + "causal.yaml",)),
    Arm("image_block", "image block", "tokens of a picture see each other (Gemma 3)", (LEVER + "image_block.yaml",), "causal"),
    Arm("cca", "CCA", "rings around the centre share a position, see each other and the rings outside",
        (LEVER + "cca.yaml",), "causal"),
    Arm("composite", "composite", "a token of the picture sees itself alone (EE-MLLM)", (LEVER + "composite.yaml",), "causal"),
    Arm("alone", "one question a row", "the causal model, tuned on rows of one question", (LEVER + "causal.yaml", ALONE), None, "causal"),
    Arm("mutual", "modality-mutual", "a picture reads the question about it (AKI); tuned as its control",
        (ALONE, LEVER + "modality_mutual.yaml"), "alone", "causal"),
)
