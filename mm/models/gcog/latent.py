"""gCOG's model with a latent between the streams: Ito et al., "On the generalization capacity of neural networks during generic multimodal
reasoning", ICLR 2024."""
from torch import Tensor, nn

from mm.models.gcog.base import RuleAndStimulus
from mm.vision.attention import CrossAttention


class LatentCrossAttention(RuleAndStimulus):
    """One latent of zeros reads the rule and then, with what it read, the stimulus; as released, one norm serves both readings."""

    def __init__(self, rule_inputs: int, stimulus_inputs: int, longest_rule: int = 100, longest_stimulus: int = 101, width: int = 256, heads: int = 1,
                 answers: int = 138) -> None:
        super().__init__(rule_inputs, stimulus_inputs, longest_rule, longest_stimulus, width, heads, answers)
        self.cross_rule, self.cross_stimulus = CrossAttention(width, heads), CrossAttention(width, heads)
        self.norm = nn.LayerNorm(width)

    def state(self, rule: Tensor, stimulus: Tensor) -> Tensor:
        latent = rule.new_zeros(len(rule), 1, self.width)
        latent = self.norm(latent + self.cross_rule(latent, rule))
        return self.norm(latent + self.cross_stimulus(latent, stimulus))[:, 0]
