"""What a model thinks of given answers while it generates: greedy decoding that may be made to begin with them."""
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor

Tokens = tuple[int, ...]


class Listening(LogitsProcessor):  # type: ignore[misc]
    """begun: tokens that each row is made to begin with. watched: answers of each row whose log-probability is kept, as far as the row comes along
    them. start: length of the padded prompts.

    heard: [row][answer] → log-probabilities of its first tokens, float32.
    """

    def __init__(self, begun: Sequence[Tokens], watched: Sequence[Sequence[Tokens]], start: int) -> None:
        self.begun, self.watched, self.start = begun, watched, start
        self.heard: list[dict[Tokens, list[float]]] = [{answer: [] for answer in answers} for answers in watched]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """input_ids: [B, N], prompts and what was generated so far. scores: [B, vocabulary], logits of what comes next."""
        said = input_ids[:, self.start:].tolist()
        step = input_ids.shape[1] - self.start
        for row, answers in enumerate(self.heard):
            along = [answer for answer in answers if len(answer) > step and list(answer[:step]) == said[row]]
            if along:
                logp = scores[row].float().log_softmax(-1)[[answer[step] for answer in along]].tolist()
                for answer, value in zip(along, logp, strict=True):
                    answers[answer].append(value)
        forced = [(row, tokens[step]) for row, tokens in enumerate(self.begun) if len(tokens) > step]
        if not forced:
            return scores
        rows, tokens = (torch.tensor(table, device=scores.device) for table in zip(*forced, strict=True))
        scores = scores.clone()
        scores[rows] = -torch.inf
        scores[rows, tokens] = 0.0
        return scores

    def logp(self, row: int) -> dict[Tokens, float]:
        """Of the answers that the row went along to their end."""
        return {answer: sum(values) for answer, values in self.heard[row].items() if len(values) == len(answer)}
