"""How lmms-eval reads answers (read and run at version 0.7.3). Its POPE task compares the whole answer: "Yes, there is." is no answer at all."""


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
