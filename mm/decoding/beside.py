"""A contrast beside transformers' own `generate`, which then decides everything else: greedy, sampling, beams, penalties, stopping."""
from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mm.models.prompt import Prompt

if TYPE_CHECKING:
    from mm.decoding.contrast import Contrast

AGAIN = "make a new one for each (method.processor(prompt))"


class Beside:
    """Logits processor for one call of `generate`, which reads the prompts itself while this reads the branch.

        model.generate(**inputs, logits_processor=[VCD().processor(InputsPrompt(model, inputs))])

    Under beams rows end, change places and come several times: each goes on from the branch's row that has read the same tokens. What it returns is
    normalised, log-probabilities, because beams add them up. It stands before temperature and nucleus, behind penalties and what forbids tokens.

    prompt: of the inputs that `generate` gets. ValueError where it gets others, where it reads several tokens at once (as assisted decoding does),
    and in a second call: a new one is made for each.
    """

    def __init__(self, contrast: Contrast, prompt: Prompt) -> None:
        self.contrast, self.prompt = contrast, prompt
        self.read: Tensor | None = None  # ids of generate's rows at its last step, prompts included, [R, N]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """input_ids: [R, N], prompts and what was generated so far; scores: [R, vocabulary], of what comes next."""
        other = self._begin(input_ids) if self.read is None else self._step(input_ids, self.read)
        step = input_ids.shape[1] - self.start
        self.read = input_ids.clone()
        return self.contrast.logits(scores.float(), other.to(scores.device), step).log_softmax(-1)

    def _begin(self, ids: Tensor) -> Tensor:
        rows, prompts = len(ids), len(self.prompt)
        if rows % prompts:
            raise ValueError(f"generate reads {rows} rows, and this processor was made for {prompts} prompts; make it of the inputs that generate "
                             "gets")
        self.start, self.copies = ids.shape[1], rows // prompts
        self.branch = self.contrast.branch(self.prompt).continuation()
        logits = self.branch.begin()
        owner = torch.arange(rows, device=logits.device) // self.copies
        if self.copies > 1:
            self.branch.select(owner)
        return logits[owner]

    def _step(self, ids: Tensor, read: Tensor) -> Tensor:
        if ids.shape != (len(read), read.shape[1] + 1) or not torch.equal(ids[:, :self.start], read[:, :self.start]):
            raise ValueError(f"this processor has followed a call of generate to {len(read)} rows of {read.shape[1]} tokens, and is asked now about "
                             f"{len(ids)} rows of {ids.shape[1]}; it serves one call, token by token: {AGAIN}")
        rows = self._rows(ids[:, self.start:-1].tolist(), read[:, self.start:].tolist())
        if rows != list(range(len(ids))):
            self.branch.select(torch.tensor(rows, device=ids.device))
        return self.branch.step(ids[:, -1])

    def _rows(self, said: list[list[int]], read: list[list[int]]) -> list[int]:
        """For each row, the one that had the same tokens at the last step, itself if it has."""
        found = []
        for row, tokens in enumerate(said):
            first = row - row % self.copies
            among = [row, *range(first, first + self.copies)]
            place = next((other for other in among if read[other] == tokens), None)
            if place is None:
                raise ValueError(f"row {row} goes on from tokens that no row has said; this processor serves one call of generate, token by token: "
                                 f"{AGAIN}")
            found.append(place)
        return found
