"""Contrasts strong enough for toys, and what their branches are by definition: read anew, without a cache, at every step."""
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

import mm
from mm.decoding import ICD, M3ID, ONLY, VCD, Contrast, LeverContrast, PAIGuidance
from mm.models.inputs_prompt import InputsPrompt
from mm.models.prompt import Prompt
from mm.reweight import PAI
from tests.families import FAMILIES

PROMPTS = ("ssIqq", "sIIqqqq")


def rule() -> PAI:
    return PAI(alpha=0.9, first_layer=0)


def contrasts() -> dict[str, Contrast]:
    """Those whose branch every prompt has; nothing is cut, so that all logits can be compared."""
    return {"vcd": VCD(beta=0.0, noise_step=900), "pai": PAIGuidance(gamma=1.6, beta=0.0), "m3id": M3ID(alpha=1.0, decay=0.4),
            "only": ONLY(beta=0.0), "only, always near": ONLY(beta=0.0, gamma=2.1), "lever on": LeverContrast([rule()], beta=0.0)}


def prompt_of(name: str, prompts: Sequence[str] = PROMPTS) -> InputsPrompt:
    family = FAMILIES[name]
    return InputsPrompt(family.model(), family.inputs(prompts))


def followed(inputs: dict[str, Any], ids: Tensor, kind: int = 0) -> dict[str, Any]:
    """What a processor would have made of the prompts and text behind them, `ids`, long [B, n]. kind: of token that it is."""
    more = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.full_like(ids, kind),
            "mm_token_type_ids": torch.zeros_like(ids)}
    return {**inputs, **{name: torch.cat([inputs[name], table], 1) for name, table in more.items() if name in inputs}}


@torch.no_grad()
def anew(prompt: Prompt, ids: Tensor) -> Tensor:
    """Logits [B, V] of the prompts behind the answers `ids`, from one pass over everything."""
    assert isinstance(prompt, InputsPrompt)
    inputs = followed(prompt.inputs, ids, kind=int(prompt.model.config.model_type == "paligemma"))  # whose answers are causal, its prompts not
    labels = inputs["input_ids"].clone()
    labels[:, :labels.shape[1] - ids.shape[1]] = -100
    under: Any = nullcontext() if prompt.rules is None else mm.steer(prompt.model, reweight=prompt.rules)
    with under:
        return prompt.model(**inputs, labels=labels, use_cache=False).logits[:, -1]  # type: ignore[no-any-return]


def disturbed(prompt: InputsPrompt) -> InputsPrompt:
    """Other words behind the same pictures, as ICD's branch has, for prompts that are tokens."""
    return InputsPrompt(prompt.model, followed(prompt.inputs, torch.tensor([[31, 47, 80]]).expand(len(prompt), -1)))


def icd() -> ICD:
    return ICD(beta=0.0)


def said(steps: int, rows: int = len(PROMPTS)) -> Tensor:
    return torch.randint(20, 96, (rows, steps), generator=torch.Generator().manual_seed(0))
