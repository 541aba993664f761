"""The words in which two prompts differ."""
from difflib import SequenceMatcher

from mm.diffusion.words import spoken


def changed_words(source: str, target: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of each prompt, the places of its words that the other does not have there: words swapped, left out or added, in the fewest such changes.

    Compared without regard to capitals and to punctuation around a word.
    """
    ours, theirs = spoken(source), spoken(target)
    kept = SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks()
    in_source = {place for block in kept for place in range(block.a, block.a + block.size)}
    in_target = {place for block in kept for place in range(block.b, block.b + block.size)}
    return tuple(sorted({*range(len(ours))} - in_source)), tuple(sorted({*range(len(theirs))} - in_target))
