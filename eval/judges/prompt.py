"""What a judge is asked: a text with places for the question, the truth and the answer."""
import re
from collections.abc import Mapping, Sequence
from pathlib import Path


class Prompt:
    """A text with each of `fields` in braces at least once, like "{answer}". Other braces are text. ValueError where a field is missing.

    where: what errors call it.
    """

    def __init__(self, text: str, fields: Sequence[str], where: str = "the prompt") -> None:
        self.text = text
        self._field = re.compile("{(" + "|".join(fields) + ")}")
        missing = [name for name in fields if f"{{{name}}}" not in text]
        if missing:
            raise ValueError(f"{where} has no {{{'} and no {'.join(missing)}}}; a prompt for the judge holds {', '.join(f'{{{f}}}' for f in fields)}")

    @staticmethod
    def read(file: str | None, own: str, fields: Sequence[str]) -> "Prompt":
        """The prompt in the user's file; `own` where none is given."""
        if file is None:
            return Prompt(own, fields)
        try:
            return Prompt(Path(file).read_text(encoding="utf-8"), fields, file)
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"cannot read the judge's prompt {file}: {error}") from error

    def fill(self, values: Mapping[str, str]) -> str:
        """All places at once: braces in an answer are no places."""
        return self._field.sub(lambda match: values[match[1]], self.text)
