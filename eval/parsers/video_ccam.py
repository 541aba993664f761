"""How the released evaluation of Video-CCAM reads answers: Fei et al., "Video-CCAM", arXiv 2408.14023, 2024. For numbers that are to equal its own.

It compares the first word of the reply with "(b)", either in the other. So "(" passes for every option and "A dog runs" for option A.
"""


def choice(text: str, letters: str) -> str:
    """Every option for which its check would say right."""
    for prefix in ("Answer:", "The answer is", "Answer is"):
        text = text.removeprefix(prefix).strip()
    word = text.split(" ")[0].lower().replace(".", "")
    return "".join(letter for letter in letters if word and either_in_other(word, f"({letter.lower()})"))


def either_in_other(word: str, option: str) -> bool:
    return word in option or option in word
