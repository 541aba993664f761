"""How VLMEvalKit reads answers: a bag of words after the punctuation rule of VQA."""
import re

MARKS = ';/[]"{}()=+\\_-><@`,?!'


def yes_no(text: str) -> str | None:
    """Yes if the word yes occurs and no does not, no if reversed, else nothing."""
    words = without_punctuation(text.lower()).split()
    if ("yes" in words) == ("no" in words):
        return None
    return "yes" if "yes" in words else "no"


def without_punctuation(text: str) -> str:
    """A mark that touches a blank anywhere in the text vanishes, any other becomes a blank ("no,thanks" -> "no thanks"); full stops vanish."""
    digits = re.search(r"\d,\d", text) is not None
    out = text
    for mark in MARKS:
        out = out.replace(mark, "" if digits or f"{mark} " in text or f" {mark}" in text else " ")
    return re.sub(r"\.(?!\d)", "", out)
