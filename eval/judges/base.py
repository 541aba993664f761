"""What every judge is: a name, and replies to prompts."""
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from eval.frame.benchmark import Row


class JudgeError(RuntimeError):
    """A judge that did not reply: the message names it and says why."""


class Judge(ABC):
    """A judge keeps each constructor argument under its own name (`mm.parts`), so that a result can state what was asked; a secret is no argument.

    system: text before every prompt, "" for none. max_tokens: of a reply.
    """

    system: str
    max_tokens: int

    @property
    @abstractmethod
    def name(self) -> str:
        """For reports: which model, and where."""

    @abstractmethod
    def ask(self, prompts: Sequence[str]) -> Iterator[tuple[int, str]]:
        """(index of the prompt, reply) as the replies come, in whatever order. Raises JudgeError once no more will come."""

    def check(self) -> None:  # noqa: B027
        """Raises ValueError for what would keep it from replying, as far as that is known before it is asked."""

    @property
    def terms(self) -> Row:
        """What a reply depends on besides the name and the prompt."""
        return {"system": self.system, "max_tokens": self.max_tokens}

    def digest(self, prompt: str) -> str:
        """Tells its reply to this prompt from every other."""
        return hashlib.sha256(json.dumps([self.name, self.terms, prompt], sort_keys=True).encode()).hexdigest()[:32]
