"""Where a tokenizer comes from, and what every tokenizer must know before a model reads pictures."""
from abc import ABC, abstractmethod
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from mm.sample import PLACEHOLDERS


class Tokenizer(ABC):
    """A source of a tokenizer: `load` gives it, with the placeholders of pictures and clips as tokens of their own and a padding token."""

    def load(self) -> PreTrainedTokenizerFast:
        return prepared(self.read())

    @abstractmethod
    def read(self) -> PreTrainedTokenizerFast:
        """The tokenizer as its source has it."""


class SavedTokenizer(Tokenizer):
    """A tokenizer in a folder or under a name: whatever transformers saves as `tokenizer.json`."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)

    def read(self) -> PreTrainedTokenizerFast:
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.path)
        except (OSError, ValueError) as error:
            raise ValueError(f"no tokenizer at {self.path!r}: {first_line(error)}; "
                             "give a folder with tokenizer.json, or a name that is on disk") from error
        if not isinstance(tokenizer, PreTrainedTokenizerFast):
            raise ValueError(f"the tokenizer at {self.path!r} knows no character offsets, by which answers are found; use one with a tokenizer.json")
        return tokenizer


def prepared(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """Adds `<image>` and `<video>` where they are missing, and lets the end token pad where nothing does.

    Placeholders never reach the embedding table (visual tokens stand in their place), so a pretrained table keeps its size.
    Raises ValueError for a tokenizer without an end token.
    """
    if tokenizer.eos_token_id is None:
        raise ValueError(f"{type(tokenizer).__name__} has no end token, so an answer could not end; set tokenizer.eos_token")
    missing = [token for token in PLACEHOLDERS.values() if token not in tokenizer.get_vocab()]
    if missing:
        tokenizer.add_special_tokens({"additional_special_tokens": missing}, replace_extra_special_tokens=False)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]
