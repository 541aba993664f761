"""OPERA written out: one prompt, whole rows read anew for every candidate by the stock model on eager attention, lists instead of tensors."""
from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedModel

Beam = tuple[list[int], float]


class WrittenOut:
    """went_back: how often."""

    def __init__(self, model: PreTrainedModel, inputs: dict[str, Any], pictures: Tensor, beams: int, candidates: int, repeats: int,
                 scale: float) -> None:
        self.model, self.inputs, self.pictures = model, inputs, pictures
        self.beams, self.candidates, self.repeats, self.scale = beams, candidates, repeats, scale
        self.went_back = 0
        self.known: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}

    def read(self, ids: list[int]) -> tuple[Tensor, Tensor]:
        """Logits behind an answer, and the last layer's weights, largest over heads, each row summing to 1, [N, N]."""
        if tuple(ids) in self.known:
            return self.known[tuple(ids)]
        inputs = dict(self.inputs)
        inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([ids], dtype=torch.long)], 1)
        for name, value in (("attention_mask", 1), ("mm_token_type_ids", 0), ("token_type_ids", 0)):
            if name in inputs:
                inputs[name] = pad(inputs[name], (0, len(ids)), value=value)
        with torch.no_grad():
            output: Any = self.model(**inputs, output_attentions=True)
        most = output.attentions[-1][0].amax(0)
        self.known[tuple(ids)] = output.logits[0, -1], most / most.sum(-1, keepdim=True)
        return self.known[tuple(ids)]

    def products(self, square: Tensor, answered: int) -> Tensor:
        own = self.scale * square[-answered:, -answered:]
        return torch.stack([own[column:, column].prod() for column in range(answered)])

    def looked_ahead(self, ids: list[int]) -> tuple[dict[int, float], list[int]]:
        """log p of each candidate behind an answer, and the columns that they trust most."""
        logits, _ = self.read(ids)
        scores, tokens = logits.topk(self.candidates)
        penalties, columns = [], []
        for token in tokens.tolist():
            square = self.read([*ids, token])[1]
            found = (1e-7 * self.products(square, len(ids) + 1)).clamp(max=65504).half()
            columns.append(int(found.argmax()))
            penalties.append(float(found.max()) if len(ids) + 1 > 10 else -float(square[-1, :len(self.pictures)][self.pictures].sum()))
        logp = (scores - torch.tensor(penalties)).log_softmax(-1)
        return dict(zip(tokens.tolist(), logp.tolist(), strict=True)), columns

    def answer(self, limit: int, stops: tuple[int, ...]) -> list[int]:
        beams: list[Beam] = [([], 0.0)]
        ended: list[Beam] = []
        history: list[tuple[list[Beam], list[Beam], list[tuple[int, int]]]] = []
        columns: list[list[int]] = []
        times: Counter[int] = Counter()
        rejected: dict[int, set[tuple[int, int]]] = {}
        while True:
            ahead = [self.looked_ahead(ids) for ids, _ in beams]
            options = [each for each, _ in ahead]
            found = [mode(each) for _, each in ahead]
            columns.append(found if len(found) == self.beams else found * self.beams)
            now = mode(columns[-1])
            if all(sum(step[beam] == now for step in columns) > self.repeats for beam in range(self.beams)) and 10 <= now < len(history) - 1:
                step = now + 1 if times[now + 1] < self.candidates else now
                if times[step] < self.candidates:
                    times[step] += 1
                    self.went_back += 1
                    beams, ended, chosen = history[step]
                    ended = list(ended)
                    rejected = {place: tried for place, tried in rejected.items() if place <= step}
                    rejected.setdefault(step, set()).update(chosen)
                    del history[step:], columns[step + 1:]
                    options = []
                    for beam, (ids, _) in enumerate(beams):
                        logits = self.read(ids)[0].clone()
                        low = logits.min()
                        for owner, token in rejected[step]:
                            if owner == beam:
                                logits[token] = low
                        options.append(dict(enumerate(logits.log_softmax(-1).tolist())))
            ways = [(score + logp, beam, token) for beam, (_, score) in enumerate(beams) for token, logp in options[beam].items()]
            ways.sort(reverse=True)
            length = len(beams[0][0]) + 1
            before, before_ended = beams, list(ended)
            ended += [([*before[beam][0], token], total / length) for total, beam, token in ways[:self.beams] if token in stops or length == limit]
            ended = sorted(ended, key=lambda each: -each[1])[:self.beams]
            going = [way for way in ways if way[2] not in stops][:self.beams]
            beams = [([*before[beam][0], token], total) for total, beam, token in going]
            history.append((before, before_ended, [(beam, token) for _, beam, token in going]))
            full = len(ended) == self.beams and beams[0][1] / length <= ended[-1][1]
            if length == limit or full:
                said = ended[0][0]
                return said[:-1] if said[-1] in stops else said


def mode(values: list[int]) -> int:
    return int(torch.tensor(values).mode().values)
