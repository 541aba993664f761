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


class File(NamedTuple):
    """A picture or clip that a placeholder stands for. start, end: bounds in seconds of what is seen of a clip, None where it is open."""

    place: str
    name: str
    start: float | None = None
    end: float | None = None


class Dialogue(NamedTuple):
    """files: in the order of the placeholders in the questions of the turns."""

    system: str
    turns: tuple[Turn, ...]
    files: tuple[File, ...]


class Message(NamedTuple):
    role: str
    text: str
    entry: dict[str, Any]


def read(record: dict[str, Any], stored: dict[str, list[str]] | None = None) -> Dialogue:
    """stored: the files of each placeholder that came with the record, which stand for those that it names, in order. Raises Misformed."""
    files = {place: names(record, place) for place in KEYS}
    parts: dict[str, list[File]] = {place: [] for place in KEYS}
    messages = [message(number, entry, parts) for number, entry in enumerate(entries(record), 1)]
    system, turns = alternate(messages)
    for place, found in parts.items():
        if found and files[place]:
            raise Misformed(f"{KEYS[place][0]} files are named under {KEYS[place][0]!r} and in the parts of messages, expected one of them, "
                            "because their order is not known otherwise; move them")
        files[place] += found
        if stored is not None:
            files[place] = stand_in(files[place], stored[place], place)
    bound(record, files[VIDEO])
    turns = place_all({place: len(found) for place, found in files.items()}, turns)
    queues = {place: iter(found) for place, found in files.items()}
    order = [place for turn in turns for place in PLACE.findall(turn.question)]
    return Dialogue(system or text_of(record.get("system") or "", "system"), turns, tuple(next(queues[place]) for place in order))


def text_of(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise Misformed(f"{what} is {str(value)[:40]!r} ({type(value).__name__}), expected a text")
    return value


def names(record: dict[str, Any], place: str) -> list[File]:
    """Files of one kind that a record lists."""
    found = [value for key in KEYS[place] if (value := record.get(key)) is not None]
    flat = [name for value in found for name in (value if isinstance(value, list) else [value])]
    for name in flat:
        if not text_of(name, f"a name under {KEYS[place][0]!r}"):
            raise Misformed(f"a name under {KEYS[place][0]!r} is empty, expected a file name")
    return [File(place, name) for name in flat]


def stand_in(named: list[File], stored: list[str], place: str) -> list[File]:
    if named and len(named) != len(stored):
        raise Misformed(f"it names {len(named)} {KEYS[place][0]} file{'s' * (len(named) != 1)}, and {len(stored)} came with it; expected as many")
    return [file._replace(name=name) for file, name in zip(named or [File(place, "")] * len(stored), stored, strict=True)]


def bound(record: dict[str, Any], clips: list[File]) -> None:
    """Gives the only clip of a record the bounds that the record has, as MVBench's annotations do."""
    if not clips or (record.get("start"), record.get("end")) == (None, None):
        return
    start, end = seconds(record, "start"), seconds(record, "end")
    if len(clips) > 1 or (clips[0].start, clips[0].end) != (None, None):
        raise Misformed(f"'start' and 'end' of a record bound its only clip, and it has {len(clips)}, or bounds of its own; put them into "
                        "the parts of type 'video'")
    clips[0] = clips[0]._replace(start=start, end=end)


def seconds(entry: dict[str, Any], key: str) -> float | None:
    value = entry.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf):
        raise Misformed(f"{key!r} is {value!r}, expected a number of seconds")
    return value


def entries(record: dict[str, Any]) -> list[dict[str, Any]]:
    found = record.get("conversations", record.get("messages"))
    if found is None:
        raise Misformed(f"has the keys {', '.join(map(repr, record)) or 'none'}, expected 'conversations' (or 'messages')")
    if not isinstance(found, list) or not found or not all(isinstance(entry, dict) for entry in found):
        raise Misformed("'conversations' is not a list of messages with something in it, expected [{'from': 'human', 'value': ...}, ...]")
    return found


def message(number: int, entry: dict[str, Any], files: dict[str, list[File]]) -> Message:
    """One message in either form; files that its parts name are added to `files`."""
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


def part(number: int, piece: Any, files: dict[str, list[File]]) -> str:
    """A typed part of a message as text. A file stands under the type's own name, or under `path` or `url`; a part without one is a placeholder for
    the next of the record's list. Clips have `start` and `end`, or as Qwen's tools call them `video_start` and `video_end`."""
    kind = piece.get("type") if isinstance(piece, dict) else None
    if kind == "text":
        return text_of(piece.get("text"), f"a text part of message {number}")
    if kind == "image_url":
        address = piece.get(kind)
        kind, piece = "image", {"url": address.get("url") if isinstance(address, dict) else address}
    place = next((place for place, (key, _) in KEYS.items() if kind == key), None)
    if place is None:
        raise Misformed(f"message {number} has a part of type {kind!r}, expected 'text', 'image' or 'video'")
    given = [value for key in (kind, "path", "url") if (value := piece.get(key)) is not None]
    if len(given) > 1 or (given and not isinstance(given[0], str)):
        raise Misformed(f"a part of type {kind!r} in message {number} names {str(given)[:60]}, expected one file name")
    if given:
        start, end = (seconds(piece, key) if key in piece else seconds(piece, f"video_{key}") for key in ("start", "end"))
        files[place] += [file._replace(start=start, end=end) for file in names({KEYS[place][0]: given[0]}, place)]
    return place


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
