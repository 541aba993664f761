"""Replies of judges on disk, so that nobody is asked twice: JSON-lines {key, judge, reply}, appended and synchronised as the replies come.

A reply is found again by a hash of the judge and the prompt. A kill loses what was under way; a line that it cut short is asked for again.
"""
import json
import os
from collections.abc import Sequence
from pathlib import Path

from eval.judges.base import Judge, JudgeError


class Verdicts:
    """The file at `path`. One process writes it at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ask(self, judge: Judge, prompts: Sequence[str]) -> list[str]:
        """The replies, in order; only what the file does not hold is asked, and equal prompts once.

        Raises JudgeError, which says how many replies are kept; the next call goes on from there.
        """
        known, keys = self.read(), [judge.digest(prompt) for prompt in prompts]
        missing = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in known}
        if missing:
            asked = list(missing)
            with self.path.open("ab") as file:
                try:
                    for index, reply in judge.ask(list(missing.values())):
                        known[asked[index]] = reply
                        file.write(json.dumps({"key": asked[index], "judge": judge.name, "reply": reply}).encode() + b"\n")
                        file.flush()
                        os.fsync(file.fileno())
                except JudgeError as error:
                    kept = sum(key in known for key in set(keys))
                    raise JudgeError(f"{error}. All answers and {kept} of {len(set(keys))} verdicts are kept ({self.path}); the same command goes on "
                                     "from there") from error
        return [known[key] for key in keys]

    def read(self) -> dict[str, str]:
        """Key -> reply of every whole line. Cuts off a last line that a kill left unfinished; a damaged line is left out."""
        content = self.path.read_bytes() if self.path.exists() else b""
        whole = content[:content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(self.path, len(whole))
        found = {}
        for line in whole.splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and isinstance(row.get("key"), str) and isinstance(row.get("reply"), str):
                found[row["key"]] = row["reply"]
        return found
