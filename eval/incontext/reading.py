"""Which answers of a task a reply gives: the whole reply, or words in it. Both are our own readings of "exact or keyword match"."""
import re
from collections.abc import Sequence

DRESS = " \t\n.!?,;:\"'`*()[]"  # around an answer


def plain(text: str) -> str:
    """Without case, line breaks, and marks at both ends, unless marks are all it has."""
    return " ".join((text.strip(DRESS) or text.strip()).casefold().split())


def exactly(text: str, known: Sequence[str]) -> list[str]:
    """The answer that the reply is, as a list of one or none."""
    return [answer for answer in known if plain(answer) == plain(text)]


def keywords(text: str, known: Sequence[str]) -> list[str]:
    """The answers that stand in the reply as whole words. Where one answer holds another, as "dark red" holds "red", only the longer one counts."""
    reply, found = plain(text), list[str]()
    for answer in sorted(known, key=lambda answer: -len(plain(answer))):
        whole = re.compile(rf"(?<!\w){re.escape(plain(answer))}(?!\w)")
        if plain(answer) and whole.search(reply):
            found.append(answer)
            reply = whole.sub("\0", reply)
    return [answer for answer in known if answer in found]
