"""gCOG's simple cross-attention model: Ito et al., "On the generalization capacity of neural networks during generic multimodal reasoning",
ICLR 2024."""
from torch import Tensor, nn

from mm.models.gcog.base import RuleAndStimulus
from mm.vision.attention import CrossAttention


class SimpleCrossAttention(RuleAndStimulus):
    """The rule reads the stimulus. As released: attention is normed before it is added to the rule, and the MLP after it has no residual."""

    def __init__(self, rule_inputs: int, stimulus_inputs: int, longest_rule: int = 100, longest_stimulus: int = 101, width: int = 256, heads: int = 1,
                 answers: int = 138) -> None:
        super().__init__(rule_inputs, stimulus_inputs, longest_rule, longest_stimulus, width, heads, answers)
        self.cross = CrossAttention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def state(self, rule: Tensor, stimulus: Tensor) -> Tensor:
        return self.norm2(self.mlp(self.read(rule, stimulus)))

    def read(self, rule: Tensor, stimulus: Tensor) -> Tensor:
        """The rule's last token with what it found in the stimulus, [B, width]; the other tokens are not needed from here on."""
        end = rule[:, -1:]
        return (self.norm1(self.cross(end, stimulus)) + end)[:, 0]
