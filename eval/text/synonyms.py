"""Which words mean which object: lines of synonyms, the first word of a line being its node."""
from collections.abc import Iterable
from pathlib import Path


class Synonyms:
    """Word -> node.

    lines: synonyms of one node each, node first. A word of several lines keeps the last.
    """

    def __init__(self, lines: Iterable[Iterable[str]]) -> None:
        table = [tuple(line) for line in lines]
        self.nodes = tuple(line[0] for line in table)
        self._node = {word: line[0] for line in table for word in line}

    @property
    def names(self) -> tuple[str, ...]:
        """Every word that names something."""
        return tuple(self._node)

    def node(self, word: str) -> str | None:
        return self._node.get(word)

    @staticmethod
    def read(path: str | Path, strip_synonyms: bool = False) -> "Synonyms":
        """A file of lines "node, synonym, synonym".

        strip_synonyms: remove blanks around each word. The published file has " motor bike" and " cheesecake", which then never match and hide what
        they contain; published scores have them hidden, hence the default.
        """
        try:
            lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
        except OSError as error:
            raise ValueError(f"cannot read the synonym file {path}: {error.strerror}") from error
        if not lines:
            raise ValueError(f"the synonym file {path} is empty; expected lines 'node, synonym, synonym'")
        return Synonyms([word.strip() if strip_synonyms else word for word in line.split(", ")] for line in lines)
