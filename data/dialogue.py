"""What a LLaVA-style record says: its instruction, its questions and answers, and which file each placeholder stands for. `data.llava` has the form.

The rules are strict, because a placeholder without its picture, or an answer that is read as a question, trains a model on nonsense in silence.
"""
import math
import re
from collections import Counter
from dataclasses import replace
from typing import Any, NamedTuple

from mm.sample import PLACEHOLDERS, Turn

IMAGE, VIDEO = PLACEHOLDERS["image"], PLACEHOLDERS["clip"]
KEYS = {IMAGE: ("image", "images"), VIDEO: ("video", "videos")}
PLACE = re.compile(f"{IMAGE}|{VIDEO}")
QUESTION, ANSWER, SYSTEM = "question", "answer", "system"
ROLES = {"human": QUESTION, "user": QUESTION, "gpt": ANSWER, "assistant": ANSWER, "system": SYSTEM}


class Misformed(ValueError):
    """A record that is JSON but not a conversation: says what was found, what was expected, what to do."""


class Dialogue(NamedTuple):
    """files: (placeholder, file name) in the order of the placeholders in the questions of the turns."""

    system: str
    turns: tuple[Turn, ...]
    files: tuple[tuple[str, str], ...]


class Message(NamedTuple):
    role: str
    text: str
    entry: dict[str, Any]


def read(record: dict[str, Any]) -> Dialogue:
    """Raises Misformed."""
    files = {place: names(record, place) for place in KEYS}
    messages = [message(number, entry, files) for number, entry in enumerate(entries(record), 1)]
    system, turns = alternate(messages)
    turns = place_all({place: len(found) for place, found in files.items()}, turns)
    queues = {place: iter(found) for place, found in files.items()}
    order = [place for turn in turns for place in PLACE.findall(turn.question)]
    return Dialogue(system or text_of(record.get("system") or "", "system"), turns, tuple((place, next(queues[place])) for place in order))


def text_of(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise Misformed(f"{what} is {str(value)[:40]!r} ({type(value).__name__}), expected a text")
    return value


def names(record: dict[str, Any], place: str) -> list[str]:
    """File names of one kind that a record lists."""
    found = [value for key in KEYS[place] if (value := record.get(key)) is not None]
    flat = [name for value in found for name in (value if isinstance(value, list) else [value])]
    for name in flat:
        if not text_of(name, f"a name under {KEYS[place][0]!r}"):
            raise Misformed(f"a name under {KEYS[place][0]!r} is empty, expected a file name")
    return flat


def entries(record: dict[str, Any]) -> list[dict[str, Any]]:
    found = record.get("conversations", record.get("messages"))
    if found is None:
        raise Misformed(f"has the keys {', '.join(map(repr, record)) or 'none'}, expected 'conversations' (or 'messages')")
    if not isinstance(found, list) or not found or not all(isinstance(entry, dict) for entry in found):
        raise Misformed("'conversations' is not a list of messages with something in it, expected [{'from': 'human', 'value': ...}, ...]")
    return found


def message(number: int, entry: dict[str, Any], files: dict[str, list[str]]) -> Message:
    """One message in either form; names of files inside its parts are added to `files`."""
    keys = ("from", "value") if "from" in entry else ("role", "content")
    if any(key not in entry for key in keys):
        raise Misformed(f"message {number} has the keys {', '.join(map(repr, entry)) or 'none'}, expected 'from' and 'value' (or 'role', 'content')")
    speaker, content = (entry[key] for key in keys)
    if not isinstance(speaker, str) or speaker not in ROLES:
        raise Misformed(f"message {number} is from {speaker!r}, expected one of {', '.join(ROLES)}")
    if isinstance(content, list):
        content = "\n".join(part(number, piece, files) for piece in content)
    text = text_of(content, f"message {number}")
    if ROLES[speaker] != QUESTION and (found := PLACE.search(text)):
        raise Misformed(f"message {number} from {speaker!r} holds {found.group()}, expected placeholders in questions only; move or respell it")
    return Message(ROLES[speaker], text, entry)


def part(number: int, piece: Any, files: dict[str, list[str]]) -> str:
    """{"type": "text", "text": ...} or {"type": "image", "image": file} as text."""
    kind = piece.get("type") if isinstance(piece, dict) else None
    if kind == "text":
        return text_of(piece.get("text"), f"a text part of message {number}")
    for place, (key, _) in KEYS.items():
        if kind == key:
            files[place] += names({key: piece.get(key)}, place)
            return place
    raise Misformed(f"message {number} has a part of type {kind!r}, expected 'text', 'image' or 'video'")


def a(role: str) -> str:
    return f"{'an' if role == ANSWER else 'a'} {role}"


def alternate(messages: list[Message]) -> tuple[str, tuple[Turn, ...]]:
    """Instruction and turns, of messages that must be: a system message if any, then question, answer, question, answer ..."""
    system = messages[0].text if messages[0].role == SYSTEM else ""
    first = int(messages[0].role == SYSTEM)
    for number, found in enumerate(messages[first:], first + 1):
        expected = ANSWER if (number - first) % 2 == 0 else QUESTION
        if found.role != expected:
            raise Misformed(f"message {number} is {a(found.role)}, expected {a(expected)}; questions (human) and answers (gpt) must take turns")
        if expected == ANSWER and not found.text.strip():
            raise Misformed(f"message {number} is an empty answer, from which nothing can be learnt; write it or remove the question before it")
    if (len(messages) - first) % 2 or len(messages) == first:
        raise Misformed(f"the last of {len(messages)} messages is {a(messages[-1].role)}, expected an answer; write it or remove the question")
    return system, tuple(turn(messages[i], messages[i + 1], i + 2) for i in range(first, len(messages), 2))


def turn(question: Message, answer: Message, number: int) -> Turn:
    """A turn; weight and task stand in the answer's entry, or else in the question's."""
    both = question.entry | answer.entry
    weight = both.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
        raise Misformed(f"the weight of message {number} is {weight!r}, expected a number that is 0 or more")
    return Turn(question.text, answer.text, float(weight), text_of(both.get("task", ""), f"the task of message {number}"))


def place_all(counts: dict[str, int], turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """The turns with exactly one placeholder for each file."""
    found = Counter(place for turn in turns for place in PLACE.findall(turn.question))
    if not counts[IMAGE] and not found[VIDEO] and found[IMAGE] == counts[VIDEO]:
        turns = tuple(replace(turn, question=turn.question.replace(IMAGE, VIDEO)) for turn in turns)
        found = Counter({VIDEO: found[IMAGE]})
    for place in (VIDEO, IMAGE):
        if counts[place] and not found[place]:
            turns = (replace(turns[0], question=f"{place}\n" * counts[place] + turns[0].question), *turns[1:])
        elif counts[place] != found[place]:
            kind = KEYS[place][0]
            raise Misformed(
                f"{found[place]} {place} placeholder{'s' * (found[place] != 1)} in the questions but {counts[place]} {kind} "
                f"file{'s' * (counts[place] != 1)}, expected as many; add what is missing, or name no placeholder to have all in front")
    return turns
