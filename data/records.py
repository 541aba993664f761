"""The records of a JSON array or of a JSON-lines file of any size, by index: where each one lies is remembered, what it says is read when asked for.

Memory is 24 bytes a record, whatever the records hold. Every read opens the file anew, so that threads and worker processes may share an index.
"""
import codecs
import json
import re
from collections.abc import Iterator
from json import JSONDecodeError
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from mm.media.errors import missing

CHUNK = 2**20  # characters of an array that are decoded at a time
LONGEST = 2**26  # characters of one record of an array; more means a bracket or quotation mark is missing
BLANK = b" \t\r\n"
SOMETHING = re.compile(r"[^ \t\r\n]")
BOM = codecs.BOM_UTF8


class Records:
    """Map-style: `records[i]` is the i-th record, a dict. Which of the two forms a file has is seen from its first character, not from its name.

    Raises ValueError naming line and column: for an array on construction, which reads all of it; for JSON lines, only counted there, on access.
    """

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)
        if not self.file.is_file():
            raise FileNotFoundError(missing(self.file))
        with self.file.open("rb") as stream:
            head = stream.read(4096).removeprefix(BOM).lstrip(BLANK)
        rows = array_rows if head[:1] == b"[" else line_rows
        # Byte at which a record begins, byte after its end, and its line, counted from 1.
        self.table = np.fromiter((number for row in rows(self.file) for number in row), dtype=np.int64).reshape(-1, 3)
        if not len(self.table):
            raise ValueError(f"{self.file} holds no records; expected a JSON array of them, or one in each line.")

    def __len__(self) -> int:
        return len(self.table)

    def where(self, index: int) -> str:
        """File and line of a record, for messages."""
        return f"{self.file.name}:{self.table[index][2]}"

    def __getitem__(self, index: int) -> dict[str, Any]:
        start, end, line = (int(number) for number in self.table[index])
        with self.file.open("rb") as stream:
            stream.seek(start)
            content = stream.read(end - start)
        try:
            record = json.loads(content.decode())
        except JSONDecodeError as error:
            raise ValueError(malformed(self.file, line + error.lineno - 1, error.colno, error.msg)) from error
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.file}, line {line}, byte {error.start + 1}: not UTF-8 ({error.reason}); save the file as UTF-8.") from error
        if not isinstance(record, dict):
            raise ValueError(f"{self.file}, line {line}: found a {type(record).__name__}, expected a record {{...}}.")
        return record


def malformed(file: Path, line: int, column: int, reason: str) -> str:
    return f"{file}, line {line}, column {column}: not JSON ({reason}). Mend the line; a file is a JSON array of records, or holds one record a line."


def line_rows(file: Path) -> Iterator[tuple[int, int, int]]:
    """(start, end, line) of every line that is not blank."""
    with file.open("rb") as stream:
        start = 0
        for line, content in enumerate(stream, 1):
            if line == 1 and content.startswith(BOM):
                start, content = len(BOM), content[len(BOM):]
            if bare := content.rstrip(BLANK):
                yield start, start + len(bare), line
            start += len(content)


def array_rows(file: Path) -> Iterator[tuple[int, int, int]]:
    """(start, end, line) of every element of the array that the file is, decoding it piece by piece."""
    text = Window(file)
    text.skip("[")
    if text.peek() == "]":
        return
    while True:
        yield text.element()
        if text.peek() == "]":
            break
        text.skip(",")
    text.skip("]")
    if text.peek():
        text.fail("Extra data", text.at)


class Window:
    """A piece of a file's text that moves on over it, and a place in it: character `at` of the piece; byte, line and column in the file."""

    def __init__(self, file: Path) -> None:
        self.file, self.text, self.at, self.byte, self.line, self.column = file, "", 0, 0, 1, 1
        self.decoder = json.JSONDecoder()
        self.pieces = self.read()

    def read(self) -> Iterator[str]:
        with self.file.open(encoding="utf-8", newline="") as stream:
            try:
                while piece := stream.read(CHUNK):
                    yield piece
            except UnicodeDecodeError as error:
                raise ValueError(f"{self.file}, after line {self.line}: not UTF-8 ({error.reason}); save the file as UTF-8.") from error

    def more(self) -> bool:
        """Take in the next piece and let go of what lies behind; whether there was one."""
        piece = next(self.pieces, "")
        self.text, self.at = self.text[self.at:] + piece, 0
        if self.byte == 0 and self.text.startswith("\ufeff"):
            self.at, self.byte = 1, len(BOM)
        return bool(piece)

    def move(self, to: int) -> None:
        gone = self.text[self.at:to]
        self.at = to
        self.byte += len(gone.encode())
        self.line += (breaks := gone.count("\n"))
        self.column = len(gone) - gone.rfind("\n") if breaks else self.column + len(gone)

    def fail(self, reason: str, at: int) -> NoReturn:
        self.move(at)
        raise ValueError(malformed(self.file, self.line, self.column, reason))

    def peek(self) -> str:
        """The next character that is not blank, "" at the end of the file."""
        while True:
            if match := SOMETHING.search(self.text, self.at):
                self.move(match.start())
                return match.group()
            self.move(len(self.text))
            if not self.more():
                return ""

    def skip(self, mark: str) -> None:
        if self.peek() != mark:
            self.fail(f"expected {mark!r}", self.at)
        self.move(self.at + 1)

    def element(self) -> tuple[int, int, int]:
        """Move over one value; (start, end, line) of it."""
        self.peek()
        start, line = self.byte, self.line
        while True:
            try:
                _, end = self.decoder.raw_decode(self.text, self.at)
                break
            except JSONDecodeError as error:
                # A value that the window cuts in two looks malformed near the window's end, or as a string without one: look further.
                cut = error.pos >= len(self.text) - 16 or error.msg.startswith("Unterminated string")
                ahead = error.pos - self.at
                if len(self.text) - self.at > LONGEST or not cut or not self.more():
                    self.fail(error.msg, self.at + ahead)
        self.move(end)
        return start, self.byte, line
