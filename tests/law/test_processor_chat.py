"""Chat templates of real families: answers are found in them, prompts continue into answers, unstable ones are refused."""
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Core
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from mm.language.chat import Chat, UnstableTemplateError
from mm.language.tokenizer import SavedTokenizer, prepared

CHATML = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
          "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
INST = ("{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content | trim }} [/INST]"
        "{% elif m.role == 'assistant' %} {{ m.content | trim }}{{ eos_token }}{% endif %}{% endfor %}")
# As reasoning models do: thoughts are written into the last answer only.
THINKING = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
            "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
TURNS = (("<image>\nWhat is it, größer?", "A red star."), ("Sure?", "Yes."))


def byte_level(template: str | None) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer as GPT-2's, learned from a few sentences; it has neither padding nor placeholders."""
    core = Core(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=330, show_progress=False, special_tokens=["<s>", "</s>", "<|im_start|>", "<|im_end|>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    core.train_from_iterator(["user assistant What is it? A red star. Yes. Sure? USER: ASSISTANT: [INST] [/INST]"] * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = template
    return prepared(tokenizer)


@pytest.mark.parametrize(("template", "answers"), [
    (CHATML, ["A red star.<|im_end|>", "Yes.<|im_end|>"]), (INST, [" A red star.</s>", " Yes.</s>"]), (None, [" A red star.</s>", " Yes.</s>"]),
], ids=["chatml", "inst", "plain"])
def test_answers_with_their_end_tokens_are_found(template: str | None, answers: list[str]) -> None:
    chat = Chat(byte_level(template))
    tokens = chat.tokenise("", TURNS)
    assert [chat.tokenizer.decode(tokens.ids[tokens.answer == turn]) for turn in (0, 1)] == answers
    assert chat.tokenizer.decode(tokens.ids) == chat.render("", TURNS)
    assert (tokens.ids == chat.tokenizer.convert_tokens_to_ids("<image>")).sum() == 1


@pytest.mark.parametrize("template", [CHATML, INST, None], ids=["chatml", "inst", "plain"])
def test_a_prompt_continues_into_its_answer(template: str | None) -> None:
    chat = Chat(byte_level(template))
    for count in (1, 2):
        prompt, whole = chat.tokenise("", TURNS[:count], reply=True).ids, chat.tokenise("", TURNS[:count])
        assert whole.ids[:len(prompt)].tolist() == prompt.tolist()
        assert whole.answer[len(prompt)] == count - 1


def test_a_template_that_rewrites_earlier_answers_is_refused_with_a_reason() -> None:
    chat = Chat(byte_level(THINKING))
    with pytest.raises(UnstableTemplateError, match=r"renders the dialogue of turn 1 differently once more follows.*chat_template.*Branches"):
        chat.tokenise("", TURNS)
    assert len(chat.tokenise("", TURNS[:1]).ids) > 0


def test_a_tokenizer_without_padding_or_placeholders_gets_them() -> None:
    tokenizer = byte_level(None)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    assert [token for token in tokenizer.tokenize("see<image>it<video>") if token.startswith("<")] == ["<image>", "<video>"]


def test_a_tokenizer_without_an_end_is_refused() -> None:
    core = Core(models.WordLevel({"a": 0}, unk_token="a"))
    with pytest.raises(ValueError, match="has no end token"):
        prepared(PreTrainedTokenizerFast(tokenizer_object=core))


def test_a_missing_tokenizer_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no tokenizer at .*nowhere.*give a folder with tokenizer.json"):
        SavedTokenizer(tmp_path / "nowhere").load()
