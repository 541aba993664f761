"""OPERA: Huang et al., "OPERA: Alleviating Hallucination in Multi-Modal Large Language Models via Over-Trust Penalty and Retrospection-Allocation",
CVPR 2024.

Beam search whose candidates are read one token ahead: one that makes the answer trust a single token of its own loses score, and beams that keep
trusting it go back and try another token behind it.
"""
from dataclasses import dataclass

import torch
from torch import Tensor

from mm.attention import Newest
from mm.decoding.base import Decoding
from mm.decoding.beams import Beams, BeamSearch, Width, parents, refuse, width_of
from mm.decoding.overtrust import grown, looked, penalty, trusted
from mm.decoding.retrospection import Moment, Retrospection
from mm.decoding.search import Choice
from mm.models.continuation import Continuation
from mm.models.prompt import Prompt


class OPERA(Decoding):
    """Scores of candidates are log_softmax(logits - weight * penalty) over the candidates of a beam, as in the released code.

    The penalty equals the original's on recorded numbers; when and how the search goes back follows its code, read and not run. Ours where that code
    has none or an accident: each sample of a batch goes back by itself; what was rejected at a step is forgotten when an earlier step is taken
    anew; a product beyond half precision counts as its largest number; no token outside the candidates is ever chosen to fill up beams. Beams end as
    in `BeamSearch`. The attention is that of the model's scores, before rules that move mass.

    Args:
        beams: of each sample. candidates: tokens behind each beam that are read ahead, 2 at least.
        weight: of the penalty; 0 is `BeamSearch` with as many beams, nothing read ahead (the released code would still choose among candidates only).
        scale: factor of weights before their product. repeats: a token that is the most trusted one more often than this leads back to it.
        window: how many steps the search goes back at most. length_penalty: of `BeamSearch`.

    Reads beams * candidates rows a step, which hold a copy of their keys and values each. That pass is the next step's, too.
    """

    def __init__(self, beams: int = 5, candidates: int = 5, weight: float = 1.0, scale: float = 50.0, repeats: int = 15, window: int = 512,
                 length_penalty: float = 1.0) -> None:
        if beams < 1 or candidates < 2:
            raise ValueError(f"beams is {beams} and candidates is {candidates}; there is one beam at least, with two tokens to choose from")
        if repeats < 1 or window < 1:
            raise ValueError(f"repeats is {repeats} and window is {window}; both are 1 at least")
        self.beams, self.candidates, self.weight, self.scale = beams, candidates, weight, scale
        self.repeats, self.window, self.length_penalty = repeats, window, length_penalty

    def decode(self, prompt: Prompt, max_new_tokens: int, choice: Choice | None = None) -> list[list[int]]:
        refuse(self, choice)
        if self.weight == 0:
            return BeamSearch(self.beams, self.length_penalty).decode(prompt, max_new_tokens)
        return Search(self, prompt, max_new_tokens).answers()


@dataclass
class Group:
    """Samples that are at the same step.

    going: holds their beams, and other rows. rows: long [S, W], where. logits: float32 [S, W, vocabulary], behind each beam. products: [S, W, T] of
    the columns of its answer.
    """

    samples: list[int]
    beams: Beams
    going: Continuation
    rows: Tensor
    logits: Tensor
    products: Tensor

    def of(self, places: list[int]) -> "Group":
        return Group([self.samples[place] for place in places], self.beams.of(places), self.going, self.rows[places], self.logits[places],
                     self.products[places])


class Search:
    """One search for answers to prompts."""

    def __init__(self, opera: OPERA, prompt: Prompt, limit: int) -> None:
        self.opera, self.limit, self.layer, self.count = opera, limit, prompt.layers - 1, len(prompt)
        self.recorder = Newest([self.layer])
        self.width: Width = width_of(opera.beams, opera.length_penalty, prompt.stop_ids)
        self.said: list[list[int]] = [[] for _ in range(self.count)]
        self.memory = [Retrospection(opera.beams, opera.repeats, opera.window, opera.candidates) for _ in range(self.count)]
        self.start = prompt.recording(self.recorder).continuation()
        self.groups: list[Group] = []

    def answers(self) -> list[list[int]]:
        if self.limit < 1:
            return self.said
        logits = self.start.begin()
        rows = torch.arange(self.count, device=logits.device)
        beams = Beams.begun(self.width, self.count, logits.device)
        self.groups.append(Group(list(range(self.count)), beams, self.start.branched(rows), rows[:, None], logits[:, None],
                                 logits.new_empty(self.count, 1, 0)))
        while self.groups:
            if (group := self._stepped(self.groups.pop())) is not None:
                self.groups.append(group)
        return self.said

    def _stepped(self, group: Group) -> Group | None:
        """One token further; samples that go back leave for a group of their own, and those that have ended leave for good."""
        opera, wide = self.opera, group.beams.scores.shape
        count = min(opera.candidates, group.logits.shape[-1])
        scores, tokens = group.logits.topk(count)
        group.going.select(group.rows.flatten().repeat_interleave(count))
        ahead = group.going.step(tokens.flatten()).view(*wide, count, -1)
        row, products, pictures = self._look(group.products[:, :, None].expand(-1, -1, count, -1))
        columns = trusted(products)[1].tolist()
        logp = (scores - opera.weight * penalty(products, row, pictures)).log_softmax(-1)
        stay = []
        for place, sample in enumerate(group.samples):
            back = self.memory[sample].back_to(columns[place])
            if back is None:
                stay.append(place)
            elif (again := self._gone_back(sample, back)) is not None:
                self.groups.append(again)
        if not stay:
            return None
        here = group.of(stay)
        chosen = self._advance(here.samples, here.beams, logp[stay], tokens[stay])
        here.rows = torch.arange(ahead[..., 0].numel(), device=chosen.device).view(len(ahead), -1)[stay].gather(1, chosen)
        here.logits = picked(ahead[stay], chosen)
        here.products = picked(products[stay], chosen)
        return self._open(here)

    def _look(self, before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the rows that were read just now: where each looked, [..., N], the products with it, [..., T + 1], and which tokens are pictures'."""
        tokens = self.recorder.tokens
        assert tokens is not None, "something was read"
        shape = (*before.shape[:-1], -1)
        row = looked(self.recorder.looks[self.layer]).view(shape)
        return row, grown(before, self.opera.scale * row[..., -before.shape[-1] - 1:]), tokens.is_vision.view(shape)

    def _advance(self, samples: list[int], beams: Beams, logp: Tensor, tokens: Tensor) -> Tensor:
        """Goes on with the best tokens, and remembers what there was before."""
        before = beams.ids, beams.scores, [list(ended) for ended in beams.ended]
        chosen = beams.advance(logp, tokens, before[0].shape[2] == self.limit - 1)
        for place, sample in enumerate(samples):
            said = zip((chosen[place] // tokens.shape[2]).tolist(), beams.ids[place, :, -1].tolist(), strict=True)
            self.memory[sample].moments.append(Moment(before[0][place], before[1][place], before[2][place], tuple(said)))
        return chosen

    def _open(self, group: Group) -> Group | None:
        """Those of its samples that may still end better; the others answer. None where all do."""
        is_open = group.beams.open()
        is_last = group.beams.ids.shape[2] == self.limit
        for place, sample in enumerate(group.samples):
            if is_last or not is_open[place]:
                self.said[sample] = group.beams.answer(place)
        stay = [place for place, is_so in enumerate(is_open) if is_so]
        return None if is_last or not stay else group.of(stay)

    def _gone_back(self, sample: int, step: int) -> Group | None:
        """The sample one token behind `step`, where what was chosen before is now the least likely of the whole vocabulary, without a penalty."""
        moment = self.memory[sample].forget(step)
        going = self.start.branched(torch.full((self.opera.beams,), sample, device=moment.ids.device))
        products = moment.scores.new_empty(1, self.opera.beams, 0)
        for ids in moment.ids.T:
            logits = going.step(ids)
            products = self._look(products)[1]
        for beam, token in self.memory[sample].rejected[step]:
            logits[beam, token] = logits[beam].min()
        logp, tokens = logits.log_softmax(-1).topk(min(logits.shape[-1], self.width.kept))
        beams = Beams(self.width, moment.ids[None], moment.scores[None], [list(moment.ended)])
        chosen = self._advance([sample], beams, logp[None], tokens[None])
        rows = parents(chosen, tokens.shape[1], self.opera.beams)
        going.select(rows[0])
        ahead = going.step(beams.ids[0, :, -1])[None]
        products = self._look(products.gather(1, rows[..., None].expand(-1, -1, products.shape[2])))[1]
        return self._open(Group([sample], beams, going, torch.arange(self.opera.beams, device=rows.device)[None], ahead, products))


def picked(table: Tensor, chosen: Tensor) -> Tensor:
    """Of [S, W, C, n], the rows `chosen`, [S, K] into W * C."""
    return table.flatten(1, 2).gather(1, chosen[..., None].expand(-1, -1, table.shape[-1]))
