"""How lmms-eval reads answers (read and run at version 0.7.3). Its POPE task compares the whole answer: "Yes, there is." is no answer at all."""
import re
from collections.abc import Iterator

from eval.parsers.vlmevalkit import without_punctuation


def yes_no(text: str) -> str | None:
    """Its POPE rule: the lower-cased, stripped answer is exactly "yes" or "no"."""
    text = text.lower().strip()
    return text if text in ("yes", "no") else None


def yes_no_mme(text: str) -> str | None:
    """Its MME rule: dots removed; yes, no, y or n alone, else whichever of yes, no stands in the first four characters ("know" is a no)."""
    text = text.lower().strip().replace(".", "")
    if text in ("y", "n"):
        return {"y": "yes", "n": "no"}[text]
    start = text[:4]
    return "yes" if "yes" in start else "no" if "no" in start else None


def yes_no_amber(text: str) -> str | None:
    """Its AMBER rule (from a reading of its code, not run): yes if the lower-cased answer holds "yes" anywhere, else no if it holds "no" anywhere.
    "Nothing" is a no, "I know, yes" a yes."""
    return next((label for label in ("yes", "no") if label in text.lower()), None)


def choice(text: str, letters: str) -> str:
    """Its MVBench rule: "B. text", else the first of A to E in either case that stands alone once the punctuation rule of VQA is applied.

    So "a cat is first" is an A, and "C: moving up" a C.
    """
    found = re.match(r"([A-E])\.\s*.+$", text.strip(), re.IGNORECASE)
    if not found:
        flat = without_punctuation(text.replace("\n", " ").replace("\t", " ").strip())
        found = re.search(r"\b([A-E])\b", flat, re.IGNORECASE)
    letter = found.group(1).upper() if found else ""
    return letter if letter in letters else ""


def choice_first(text: str, letters: str) -> str:
    """Its CV-Bench rule: the first letter, in either case, if only blanks and opening parentheses are before it. "Dog" is a D, "The answer is A" a T,
    which is none."""
    found = re.match(r"[(\s]*([A-Za-z])", text)
    letter = found.group(1).upper() if found else ""
    return letter if letter in letters else ""


def choice_ranked(text: str, letters: str) -> str:
    """Its rule for Video-MME and MLVU: a capital letter at the start or end counts most, then one behind "the answer is", then (A), A., A:, A), and A
    before a blank; of equals the last. A text without any of these gives the last capital letter in it: "BAD" is a D. Later versions differ.
    """
    text = text.strip()
    for mark in ",.!?;:'\"":
        text = text.strip(mark)
    bare, text = text.strip(), f" {text} "
    dressed = [found for letter in letters for found in _places(letter, bare, text)]
    anywhere = [(0, text.rfind(letter), letter) for letter in letters if letter in text]
    return max(dressed or anywhere, default=(0, 0, ""))[2]


NOUNS = ("answer", "correct answer", "best answer", "correct option", "best option", "choice", "correct choice")
PHRASES = (*(f"{article}{noun} is" for noun in NOUNS for article in ("", "the ")), "my answer is", "my choice is", "i choose", "i select", "i pick",
           "옵션", "정답은", "답은", "답:", "答案是", "答案为", "选", "答えは")  # of each, the first place in the text
FORMS = ((6, "({})"), (5, "{}."), (4, "{}:"), (3, "{})"), (2, "{} "))


def _places(letter: str, bare: str, text: str) -> Iterator[tuple[int, int, str]]:
    """Where a letter stands like an answer: rank, position, letter."""
    if re.match(rf"{letter}(?![^\W\d_])", bare):
        yield 10, 0, letter
    if re.search(rf"(?<![^\W\d_]){letter}$", bare):
        yield 9, len(text) - 1, letter
    lower = text.lower()
    for phrase in PHRASES:
        begin = lower.find(phrase)
        if begin >= 0 and (place := text.find(letter, begin + len(phrase))) >= 0:
            yield 7, place, letter
    for rank, form in FORMS:
        if (place := text.rfind(form.format(letter))) >= 0:
            yield rank, place, letter


def yes_anywhere(text: str) -> str:
    """Its HallusionBench rule without a judge: yes wherever these letters occur ("eyes" too), else no."""
    return "yes" if "yes" in text.lower() else "no"


PAIRED = (
    r"^\s*\(?([ab])\)?\.?\s*$",  # the letter alone
    r"^\s*\(?([ab])\)?[.\s]",  # in front
    r"answer\s+is\s+\(?([ab])",  # or a word that begins with it: "the answer is absent" is an A
    r"option\s+\(?([ab])",
    r"([ab])\)?(?:\s|$)",  # the first word that ends with it
    r"^([ab])")


def choice_of_two(text: str) -> str:
    """Its MMVP rule, A, B or "": the first of six forms that occurs, in either case. "Before" is a B; "Answer: B." an A, because only its first
    letter is left once no other form fits."""
    text = text.strip()
    found = next((match for form in PAIRED if (match := re.search(form, text, re.IGNORECASE))), None)
    return found.group(1).upper() if found else ""
