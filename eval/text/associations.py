"""Words of a caption against what a picture holds and what a model may invent: Wang et al., "AMBER: An LLM-free Multi-dimensional Benchmark for MLLMs
Hallucination Evaluation", arXiv 2311.07397, 2023.

Any word of a picture's objects, or associated with one of them, is fine; what else the vocabulary holds is a hallucination.
"""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple


class Judged(NamedTuple):
    """One caption. kept: its words that the vocabulary holds, repeats included. flags: 1 for each that is hallucinated. covered: 1 for each object of
    the picture that is named. invented: 1 for each object that one might expect there, and that is named although it is not there."""

    kept: list[str]
    flags: list[int]
    covered: list[int]
    invented: list[int]


Owned = Sequence[tuple[str, int]]  # words, each with the index of the name that it stands for


@dataclass(frozen=True)
class Associations:
    """related: word -> words that go with it. safe: words that are never hallucinated, though they count as mentions."""

    related: Mapping[str, Sequence[str]]
    safe: frozenset[str] = frozenset()

    @cached_property
    def words(self) -> frozenset[str]:
        """The vocabulary: every other word of a caption is ignored. Cases are told apart."""
        return frozenset(self.related).union(*self.related.values())

    def owners(self, names: Sequence[str]) -> Owned:
        """Words that stand for the names: what is associated with each of them first, then the names themselves. ValueError for one without entry."""
        missing = [name for name in names if name not in self.related]
        if missing:
            raise ValueError(f"the annotated word {missing[0]!r} is none of the {len(self.related)} words with associations; take the files of one "
                             "release")
        return [(word, index) for index, name in enumerate(names) for word in self.related[name]] + [(name, i) for i, name in enumerate(names)]

    def judge(self, nouns: Sequence[str], truth: Sequence[str], hallu: Sequence[str], similar: Callable[[str, str], bool]) -> Judged:
        """nouns: of the caption, in base form. truth: objects of the picture. hallu: absent ones that one might expect. Both may repeat a word.

        A word that is similar to an expected one and to an object as well counts as invented and is fine nevertheless, as in the official script.
        """
        kept = [noun for noun in nouns if noun in self.words]
        there, expected = self.owners(truth), self.owners(hallu)
        flags, covered, invented = [], [0] * len(truth), [0] * len(hallu)
        for noun in kept:
            named = None if noun in self.safe else _same(there, noun)
            if noun not in self.safe and named is None:
                for owner in (_same(expected, noun), _similar(expected, noun, similar)):
                    if owner is not None:
                        invented[owner] = 1
                named = _similar(there, noun, similar)
            if named is not None:
                covered[named] = 1
            flags.append(int(named is None and noun not in self.safe))
        return Judged(kept, flags, covered, invented)


def _same(owned: Owned, noun: str) -> int | None:
    return next((owner for word, owner in owned if word == noun), None)


def _similar(owned: Owned, noun: str, similar: Callable[[str, str], bool]) -> int | None:
    return next((owner for word, owner in owned if similar(noun, word)), None)
