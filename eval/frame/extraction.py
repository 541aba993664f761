"""Objects of an answer, as a language model lists them: what it is asked, how its reply is read, and a file, so that nobody is asked twice."""
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mm.parts import build

PROMPT = """A model was asked about a picture, and this is what it answered.

Question: {question}

Answer: {answer}

List every thing that the answer says can be seen in the picture. Take only things that the answer names, and of each only its name, without colour,
material, number or other properties. Reply with a JSON list of strings and nothing else, like ["dog", "tennis racket"]; with [] if it names nothing.
"""


@runtime_checkable
class Asker(Protocol):
    """A language model that replies to prompts: the replies in order, or pairs of a prompt's index and its reply in whatever order they come."""

    def ask(self, prompts: Sequence[str]) -> Iterable[str | tuple[int, str]]: ...


def asker(judge: Asker | Mapping[str, Any]) -> Asker:
    """The judge, or the one that a description tells of: {class_path, init_args}, of any class, for it comes from the user. Raises ValueError."""
    if isinstance(judge, Mapping):
        judge = build(judge, (str(judge.get("class_path")).partition(".")[0],))
    if not isinstance(judge, Asker):
        raise ValueError(f"a judge has a method ask(prompts) that gives replies; {type(judge).__name__} has none")
    return judge


class Extraction:
    """judge: who is asked. file: of a prompt with {question} and {answer} in it, by default one of our own."""

    def __init__(self, judge: Asker, file: str | None = None) -> None:
        self.judge = judge
        self.prompt = PROMPT if file is None else _read(file)

    @property
    def name(self) -> str:
        """For reports."""
        return str(getattr(self.judge, "name", type(self.judge).__name__))

    def ask(self, answers: Sequence[tuple[str, str]], path: Path) -> list[list[str] | None]:
        """Objects of each (question, answer), None where a reply holds no list. path: JSON-lines of the replies so far, which are not asked for."""
        prompts = [self._filled(*answer) for answer in answers]
        keys = [hashlib.sha256(f"{self.name}\n{prompt}".encode()).hexdigest()[:32] for prompt in prompts]
        replies = _kept(path)
        missing = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in replies}
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write("\n" * (path.stat().st_size > 0))  # behind a line that a kill cut short
            for place, came in enumerate(self.judge.ask(list(missing.values())) if missing else ()):
                index, reply = came if isinstance(came, tuple) else (place, came)
                key = list(missing)[index]
                replies[key] = reply
                file.write(json.dumps({"key": key, "judge": self.name, "reply": reply}, ensure_ascii=False) + "\n")
                file.flush()
        silent = sum(key not in replies for key in missing)
        if silent:
            raise ValueError(f"the judge {self.name} gave no reply to {silent} of {len(missing)} prompts; the others are kept in {path}: try again")
        return [objects_in(replies[key]) for key in keys]

    def _filled(self, question: str, answer: str) -> str:
        before, _, after = self.prompt.partition("{answer}")  # an answer may hold braces, too
        return before.replace("{question}", question) + answer + after.replace("{question}", question)


def objects_in(reply: str) -> list[str] | None:
    """The objects in a reply, as RLHF-V's script reads it: a JSON list, or one on the last line. None where there is none; it asks again then."""
    for text in (reply, reply.strip().split("\n")[-1] if '["' in reply else ""):
        try:
            found = json.loads(text)
        except ValueError:
            continue
        return [str(name) for name in found] if isinstance(found, list) else None
    return None


def _read(file: str) -> str:
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the judge's prompt {file}: {error}") from error
    missing = [field for field in ("{question}", "{answer}") if field not in text]
    if missing:
        raise ValueError(f"{file} has no {' and no '.join(missing)}; a prompt for the objects of an answer holds {{question}} and {{answer}}")
    return text


def _kept(path: Path) -> dict[str, str]:
    """Replies in the file; a line that a kill cut short is asked for again."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
            found[row["key"]] = row["reply"]
        except (ValueError, KeyError, TypeError):
            continue
    return found
