"""What gCOG's cross-attention models have in common: Ito et al., "On the generalization capacity of neural networks during generic multimodal
reasoning", ICLR 2024."""
from abc import ABC, abstractmethod

from torch import Tensor, nn

from mm.models.gcog.encoder import StreamEncoder


class RuleAndStimulus(nn.Module, ABC):
    """Two streams of tokens, a rule in words and a stimulus as a grid, and one answer of `answers`.

    Args:
        rule_inputs, stimulus_inputs: width of the tokens as they come. longest_rule, longest_stimulus: tokens of a stream, its end token included.
        width, heads: of everything inside (256 and 1 in the paper). answers: classes (138 in the paper).
    """

    def __init__(self, rule_inputs: int, stimulus_inputs: int, longest_rule: int = 100, longest_stimulus: int = 101, width: int = 256, heads: int = 1,
                 answers: int = 138) -> None:
        super().__init__()
        self.rule_inputs, self.stimulus_inputs = rule_inputs, stimulus_inputs
        self.longest_rule, self.longest_stimulus = longest_rule, longest_stimulus
        self.width, self.heads, self.answers = width, heads, answers
        self.rule = StreamEncoder(rule_inputs, longest_rule, width, heads)
        self.stimulus = StreamEncoder(stimulus_inputs, longest_stimulus, width, heads)
        self.head = nn.Linear(width, answers)

    def forward(self, rule: Tensor, stimulus: Tensor) -> Tensor:
        """rule: [B, R, rule_inputs], stimulus: [B, S, stimulus_inputs] → log-probabilities [B, answers]."""
        return self.head(self.state(self.rule(rule), self.stimulus(stimulus))).log_softmax(-1)

    @abstractmethod
    def state(self, rule: Tensor, stimulus: Tensor) -> Tensor:
        """The encoded streams [B, R, width] and [B, S, width] → what the answer is read from, [B, width]."""
