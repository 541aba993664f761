"""Roles and turns of a pretrained model's prompt: labels tell answers, and answers tell turns."""
from typing import Any

import pytest
import torch
import transformers as hf

from mm.masks import ImageBlock, Mask, Prefix
from mm.models import token_map
from mm.tokens import Role
from tests.families import FAMILIES
from tests.toys import batch
from tests.written import TABLES, meant, written


def labelled(prompt: str) -> tuple[hf.PreTrainedModel, dict[str, Any]]:
    """Toy LLaVA's inputs, its answers labelled."""
    family = FAMILIES["llava"]
    inputs = family.inputs([prompt], left=False)
    answer = torch.tensor([letter == "a" for letter in prompt.replace("I", "IIII")])
    return family.model(), inputs | {"labels": inputs["input_ids"].masked_fill(~answer, -100)}


def test_without_labels_all_but_what_leads_is_the_first_question() -> None:
    family = FAMILIES["llava"]
    prompts = ["ssIqq", "IIq", "qqq"]
    for left in (True, False):
        found, wanted = token_map(family.model(), family.inputs(prompts, left=left)), batch("ss iiii qq", "iiii jjjj q", "qqq", left=left)
        for name in (*TABLES, "index"):
            assert torch.equal(getattr(found, name), getattr(wanted, name)), name


@pytest.mark.parametrize("mask", [Prefix(), ImageBlock()], ids=repr)
def test_labels_tell_answers_and_turns_so_that_masks_read_the_map_as_ours(mask: Mask) -> None:
    found, wanted = token_map(*labelled("ssIqqaaqa")), batch("ss iiii qqaaqa")
    for name in TABLES:
        assert torch.equal(getattr(found, name), getattr(wanted, name)), name
    assert torch.equal(mask.dense(found), mask.dense(wanted))


def test_an_image_behind_an_answer_is_of_the_turn_of_its_question() -> None:
    tokens = token_map(*labelled("sIqaaIqa"))
    assert tokens.turn[0].tolist() == [-1, *[0] * 7, *[1] * 6]
    assert written(tokens) == meant("s [00:2x2] q a a [10:2x2] q a")


def test_text_before_an_image_is_no_system_prompt_once_it_was_answered() -> None:
    tokens = token_map(*labelled("qaIq"))
    assert written(tokens) == meant("q a [00:2x2] q")
    assert tokens.turn[0].tolist() == [0, 0, *[1] * 5]


def test_a_labelled_placeholder_is_no_answer() -> None:
    model, inputs = labelled("sIq")
    assert not token_map(model, inputs | {"labels": inputs["input_ids"]}).role[:, 1:5].eq(Role.ANSWER).any()
