"""The strict reader: the answer is one word or one letter, in its usual dress. Everything else is unparsed."""
import re


def yes_no(text: str) -> str | None:
    """One word, in any case, perhaps followed by a full stop or quoted."""
    found = _ONE_WORD.fullmatch(text.strip().lower())
    return found.group(1) if found else None


def choice(text: str, letters: str) -> str:
    """A capital letter in front: alone on its line, in parentheses, or marked by a full stop, colon or parenthesis, whatever follows then.

    A bare letter with words behind it is none: "A dog" names no option. (Our own definition.)
    """
    found = _MARKED.match(text.strip())
    letter = (found.group(1) or found.group(2)) if found else ""
    return letter if letter in letters else ""


_ONE_WORD = re.compile(r"[\"'(]?(yes|no)[.!]?[\"')]?[.!]?")
_MARKED = re.compile(r"\(([A-Z])\)(?!\w)|([A-Z])(?:[.:)](?!\w)|[ \t]*(?:\n|$))")
