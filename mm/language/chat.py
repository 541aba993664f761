"""A dialogue as the string that a model was trained on, and where the answers are in it."""
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerFast

PLAIN = ("{{ bos_token or '' }}{% for m in messages %}{% if m.role == 'user' %}USER: {{ m.content }} ASSISTANT:"
         "{% elif m.role == 'assistant' %} {{ m.content }}{{ eos_token }}{% else %}{{ m.content }} {% endif %}{% endfor %}")


class Tokens(NamedTuple):
    """ids: int64 [N]. answer: index of the turn whose answer (or its end token) a token belongs to, -1 elsewhere, int64 [N].
    question: turn that a token belongs to, answers included, int64 [N]; -1 before the first question (system prompt).
    """

    ids: np.ndarray
    answer: np.ndarray
    turn: np.ndarray


class UnstableTemplateError(ValueError):
    """A chat template that renders the beginning of a dialogue differently once more follows, so that answers cannot be located."""


class Chat:
    """Rendering and tokenisation of dialogues by the tokenizer's chat template; where it has none, with `PLAIN`: "USER: ... ASSISTANT: ...<eos>"."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self.template = tokenizer.chat_template or PLAIN

    def render(self, system: str, turns: tuple[tuple[str, str], ...], reply: bool = False) -> str:
        """turns: (question, answer) pairs. reply: leave the last answer out and end where the model is to begin it."""
        messages = [{"role": "system", "content": system}] if system else []
        for question, answer in turns:
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return str(self.tokenizer.apply_chat_template(
            messages[:-1] if reply else messages, chat_template=self.template, tokenize=False, add_generation_prompt=reply))

    @property
    def stop_ids(self) -> list[int]:
        """Tokens that end an answer: the tokenizer's end token, and the one that the template ends a turn with."""
        tokens = self.tokenise("", (("a", "a"),))
        return sorted({int(self.tokenizer.eos_token_id), int(tokens.ids[tokens.answer >= 0][-1])})

    def tokenise(self, system: str, turns: tuple[tuple[str, str], ...], reply: bool = False) -> Tokens:
        """The dialogue tokenised in one piece. UnstableTemplateError where answers cannot be found in it.

        reply: the prompt only, ending where the last answer would begin.
        """
        return _tokenise(self, system, turns, reply)


@lru_cache(maxsize=2**16)
def _tokenise(chat: Chat, system: str, turns: tuple[tuple[str, str], ...], reply: bool) -> Tokens:
    text = chat.render(system, turns, reply)
    asked = _find_questions(text, turns)
    spans = [_answer_span(chat, system, turns, index, text) for index in range(len(turns) - reply)]
    encoding = chat.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
    starts = np.array([start for start, _ in encoding.offsets], dtype=np.int64)
    ends = np.array([end for _, end in encoding.offsets], dtype=np.int64)
    answer = np.full(len(starts), -1, dtype=np.int64)
    # Each turn begins where the answer before it ends; the first one begins with its question.
    begins = np.array([asked, *(end for _, end in spans[:len(turns) - 1])])
    turn = np.searchsorted(begins, starts, side="right") - 1
    for index, (start, end) in enumerate(spans):
        answer[(starts >= start) & (ends <= end) & (starts < end)] = index
    tokens = Tokens(np.array(encoding.ids, dtype=np.int64), answer, turn)
    for table in tokens:
        table.setflags(write=False)  # the cache hands out one copy
    return tokens


def _find_questions(text: str, turns: tuple[tuple[str, str], ...]) -> int:
    """Where the first question begins; 0 where the template rewrites it."""
    return max(text.find(turns[0][0].strip()), 0)


@lru_cache(maxsize=2**14)
def _prompt(chat: Chat, system: str, turns: tuple[tuple[str, str], ...]) -> str:
    """The last turn's prompt. Its answer is not read, so questions that come again cost nothing."""
    return chat.render(system, turns, reply=True)


def _answer_span(chat: Chat, system: str, turns: tuple[tuple[str, str], ...], index: int, text: str) -> tuple[int, int]:
    """Characters of answer `index` with its end token, in `text`."""
    prompt = _prompt(chat, system, (*turns[:index], (turns[index][0], "")))
    through = text if index == len(turns) - 1 else chat.render(system, turns[:index + 1])
    if not (text.startswith(through) and through.startswith(prompt)):
        part = "the prompt" if not through.startswith(prompt) else "the dialogue"
        raise UnstableTemplateError(
            f"the chat template of {chat.tokenizer.name_or_path or 'this tokenizer'} renders {part} of turn {index + 1} differently once "
            "more follows, so its answer cannot be located; give another chat_template, or lay each turn out by itself (mm.models.Branches)")
    return len(prompt), len(prompt) + len(through[len(prompt):].rstrip())
