"""gCOG's perceiver: Ito et al., "On the generalization capacity of neural networks during generic multimodal reasoning", ICLR 2024; after Jaegle et
al., "Perceiver: General Perception with Iterative Attention", ICML 2021."""
from torch import Tensor, nn

from mm.models.gcog.base import RuleAndStimulus
from mm.vision.attention import CrossAttention


class Perceiver(RuleAndStimulus):
    """`latents` latents of zeros read the rule, attend to each other, read the stimulus, and attend to each other again.

    As released, one self-attention and one norm serve everywhere, and the last latent is read after a map that ends in a ReLU. All latents start as
    zeros and nothing tells them apart, so they stay equal: ten give what one gives. The number is kept because it is the paper's.
    """

    def __init__(self, rule_inputs: int, stimulus_inputs: int, longest_rule: int = 100, longest_stimulus: int = 101, width: int = 256, heads: int = 1,
                 answers: int = 138, latents: int = 10) -> None:
        super().__init__(rule_inputs, stimulus_inputs, longest_rule, longest_stimulus, width, heads, answers)
        self.latents = latents
        self.cross_rule, self.cross_stimulus, self.among = (CrossAttention(width, heads) for _ in range(3))
        self.norm_rule, self.norm_stimulus, self.norm = (nn.LayerNorm(width) for _ in range(3))
        self.mlp_rule, self.mlp_stimulus, self.mlp = (nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(3))

    def state(self, rule: Tensor, stimulus: Tensor) -> Tensor:
        latents = rule.new_zeros(len(rule), self.latents, self.width)
        for stream, cross, norm, mlp in ((rule, self.cross_rule, self.norm_rule, self.mlp_rule),
                                         (stimulus, self.cross_stimulus, self.norm_stimulus, self.mlp_stimulus)):
            read = norm(cross(latents, stream))
            latents = self.norm(latents + read + mlp(read))
            latents = self.norm(latents + self.among(latents, latents))
        return self.mlp(latents)[:, -1]
