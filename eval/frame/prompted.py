"""Answers through prompts: any way of decoding, on any model, questions about one picture behind one copy of it where levers let them."""
from collections.abc import Callable, Iterator, Mapping, Sequence

from eval.frame.benchmark import Item
from eval.frame.runner import Answer
from mm.decoding import Decoding, Stepwise, spoken
from mm.models.continuation import counted
from mm.models.prompt import Prompt
from mm.sample import Media, Sample, Turn

Make = Callable[[Sequence[Sample]], Prompt]


def prompted(items: Sequence[Item], media: Mapping[str, tuple[Media, ...]], make: Make, decoding: Decoding, max_new_tokens: int,
             size: int) -> list[Answer]:
    """Greedy answers under `decoding`, and of an item with candidates log p of each as the whole answer, its end included, where the method answers
    token by token; a search of another kind gives texts only.

    media: of each picture. max_new_tokens: of an item that says nothing else. size: pictures at a time; rows at a time where questions cannot share a
    picture, and where they have none.
    """
    found: dict[str, Answer] = {}
    alone = not isinstance(decoding, Stepwise)  # a search has one length for all that it searches together
    for part in _parts(items, media, make, size, [limit_of(item, max_new_tokens) if alone else 0 for item in items]):
        samples = [sample(item, media[item.picture]) for item in part]
        found |= zip((item.id for item in part), _answered(part, samples, make, decoding, max_new_tokens), strict=True)
    return [found[item.id] for item in items]


def limit_of(item: Item, max_new_tokens: int) -> int:
    """Tokens of its answer."""
    return max_new_tokens if item.max_new_tokens is None else item.max_new_tokens


def sample(item: Item, media: tuple[Media, ...]) -> Sample:
    return Sample(item.id, media, (Turn(item.question, item.prefix),))


def _answered(items: Sequence[Item], samples: Sequence[Sample], make: Make, decoding: Decoding, max_new_tokens: int) -> list[Answer]:
    asked = [(place, text) for place, item in enumerate(items) for text in item.candidates] if isinstance(decoding, Stepwise) else []
    prompt = make([*samples, *(samples[place] for place, _ in asked)])
    given = [prompt.encode(text) for _, text in asked]
    limits = [limit_of(item, max_new_tokens) for item in items]
    with counted() as passes:
        if isinstance(decoding, Stepwise):
            said = spoken(decoding.continuation(prompt), prompt.stop_ids, [*limits, *map(len, given)], [*[None] * len(items), *given])
            answers = [each.ids for each in said[:len(items)]]
        else:
            said, answers = [], decoding.decode(prompt, limits[0])
    logp: dict[int, dict[str, float]] = {}
    tokens: dict[int, dict[str, int]] = {}
    for (place, text), ids, each in zip(asked, given, said[len(items):], strict=True):
        logp.setdefault(place, {})[text] = each.logp
        tokens.setdefault(place, {})[text] = len(ids)
    share = passes.rows / len(items)
    return [Answer(prompt.decode(ids), logp.get(place), tokens.get(place), min(len(ids) + 1, limits[place]), share)
            for place, ids in enumerate(answers)]


def _parts(items: Sequence[Item], media: Mapping[str, tuple[Media, ...]], make: Make, size: int, lengths: Sequence[int]) -> Iterator[Sequence[Item]]:
    """Items that are read together: about `size` pictures, or `size` items where each is read by itself. Like with like only, as processors want;
    lengths: of each item, likewise."""
    alike: dict[tuple[bool, int, bool, tuple[int, ...]], list[Item]] = {}
    for item, length in zip(items, lengths, strict=True):
        shown = media[item.picture]
        clips = tuple(len(medium.frames) for medium in shown if medium.kind == "clip")
        alike.setdefault((bool(item.prefix), length, len(clips) < len(shown), clips), []).append(item)
    for (_, _, has_images, clips), together in alike.items():
        shares = (has_images or bool(clips)) and make([sample(together[0], media[together[0].picture])]).shares
        part: list[Item] = []
        pictures: set[str] = set()
        for item in together:
            if part and (len(pictures | {item.picture}) if shares else len(part) + 1) > size:
                yield part
                part, pictures = [], set()
            part.append(item)
            pictures.add(item.picture)
        yield part
