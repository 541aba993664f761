"""A way of decoding: from prompts to answers."""
from abc import ABC, abstractmethod

from mm.decoding.search import Choice, Greedy, decoded
from mm.models.continuation import Continuation
from mm.models.prompt import Prompt


class Decoding(ABC):
    """A method with its parameters. It knows nothing of a model before `decode`, and keeps nothing after it."""

    @abstractmethod
    def decode(self, prompt: Prompt, max_new_tokens: int, choice: Choice | None = None) -> list[list[int]]:
        """Tokens of each answer, its end left out. choice: how the next token is chosen, greedily by default. A method with a search of its own
        raises ValueError for another one."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items() if not name.startswith('_'))})"


class Stepwise(Decoding):
    """One that answers token by token: it says what is behind the prompts, and any choice goes on from there."""

    @abstractmethod
    def continuation(self, prompt: Prompt) -> Continuation:
        """The prompts, not yet begun, with this method's logits."""

    def decode(self, prompt: Prompt, max_new_tokens: int, choice: Choice | None = None) -> list[list[int]]:
        return decoded(self.continuation(prompt), prompt.stop_ids, max_new_tokens, choice or Greedy())


class Plain(Stepwise):
    """The model's own logits."""

    def continuation(self, prompt: Prompt) -> Continuation:
        return prompt.continuation()
