"""Answers questions of the world from their words and the scene's JSON alone; shares nothing with the code that asks."""
import re
from typing import Any

COUNTS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}


def answer(text: str, scene: dict[str, Any]) -> str:
    """ "yes" or "no"; ValueError for a text that is no question of the world or has more than one reading."""
    things = scene["objects"]

    def the(shape: str) -> dict[str, Any]:
        found = [thing for thing in things if thing["shape"] == shape]
        if len(found) != 1:
            raise ValueError(f"'the {shape}' in {text!r} is one of {len(found)}")
        return found[0]

    def holds() -> bool:
        if match := re.fullmatch(r"(?:is|are) there (one|two|three|four|five) (\w+) objects? \?", text):
            return sum(thing["shape"] == match[2] for thing in things) == COUNTS[match[1]]
        if match := re.fullmatch(r"is there an? (\w+) \?", text):
            return any(thing["shape"] == match[1] for thing in things)
        if match := re.fullmatch(r"is there (an? \w+ \w+(?: and an? \w+ \w+)*) \?", text):
            terms = [term.split()[1:] for term in match[1].split(" and ")]
            return all(any([thing["colour"], thing["shape"]] == term for thing in things) for term in terms)
        if match := re.fullmatch(r"is the (\w+) (left of|right of|above|below) the (\w+) \?", text):
            one, other = the(match[1])["cell"], the(match[3])["cell"]
            right, down = other % 4 - one % 4, other // 4 - one // 4
            return {"left of": right > 0, "right of": right < 0, "above": down > 0, "below": down < 0}[match[2]]
        if match := re.fullmatch(r"is the (\w+) (\w+) \?", text):
            return the(match[1])["colour"] == match[2]
        raise ValueError(f"{text!r} is no question of the world")

    return "yes" if holds() else "no"
