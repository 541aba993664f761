"""The strict reader: the answer is one word, in any case, perhaps followed by a full stop or quoted. Everything else is unparsed."""
import re


def yes_no(text: str) -> str | None:
    found = _ONE_WORD.fullmatch(text.strip().lower())
    return found.group(1) if found else None


_ONE_WORD = re.compile(r"[\"'(]?(yes|no)[.!]?[\"')]?[.!]?")
