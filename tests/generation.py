"""What models generate, under levers and by hand, and what it must equal: company, caches and beams do not change it."""
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

from mm.language.anatomy import decoder_layers
from mm.masks import Composite, ImageBlock, ModalityMutual
from mm.reweight import PAI, VAR
from tests.dense import Dense, apart, blocks, by_hand, causal, grown, massive, mutual, pai, var
from tests.families import FAMILIES, IMAGE, Family
from tests.toys import STATIC

PROMPTS = ["ssIqqq", "Iqqqqq", "sIqq", "sssIqqqq"]
STEPS = 4
LAYERS = 3
TAGS = list(range(3, 20))  # placeholders and marks, which no answer has
CLOSE: dict[str, float] = {"rtol": 0, "atol": 1e-4}

beams_and_static = pytest.mark.parametrize("settings", [{"num_beams": 3}, STATIC], ids=["beams", "static"])


def family(name: str) -> Family:
    """With as many layers as VAR needs to do anything."""
    def config() -> Any:
        made = FAMILIES[name].config()
        text = made.get_text_config()
        text.num_hidden_layers = LAYERS
        if getattr(text, "layer_types", None):
            text.layer_types = [text.layer_types[0]] * LAYERS
        return made

    return replace(FAMILIES[name], config=config)


def generate(model: PreTrainedModel, inputs: dict[str, Any], **settings: Any) -> Any:
    config = GenerationConfig(max_new_tokens=STEPS, min_new_tokens=STEPS, do_sample=False, pad_token_id=0, bos_token_id=1, suppress_tokens=TAGS,
                              output_logits=True, return_dict_in_generate=True, **settings)
    return model.generate(**inputs, generation_config=config)


def answers(made: Any) -> Tensor:
    return made.sequences[:, -STEPS:]


def with_answers(toy: Family, inputs: dict[str, Any], sequences: Tensor) -> dict[str, Any]:
    """The inputs of a prompt that goes on as `sequences` do, [B, T]."""
    suffix = int(toy.name == "paligemma")  # whose prefix is type 0
    more = sequences.shape[1] - inputs["input_ids"].shape[1]
    longer = {name: torch.nn.functional.pad(inputs[name], (0, more), value=fill)
              for name, fill in (("attention_mask", 1), ("mm_token_type_ids", 0), ("token_type_ids", suffix)) if name in inputs}
    return inputs | longer | {"input_ids": sequences}


def dense_ids(model: PreTrainedModel, inputs: dict[str, Any], dense: Dense, positions: Tensor | None = None) -> Tensor:
    """Greedy ids, each from one whole forward pass by hand. positions: [1, N + STEPS]."""
    ids = torch.empty(0, dtype=torch.long)
    with torch.no_grad(), by_hand(model, dense):
        for _ in range(STEPS):
            now = grown(inputs, ids)
            more = {} if positions is None else {"position_ids": positions[:, :now["input_ids"].shape[1]]}
            logits = model(**now, **more, use_cache=False).logits[0, -1:].index_fill(-1, torch.tensor(TAGS), -torch.inf)
            ids = torch.cat([ids, logits.argmax(-1)])
    return ids


# --- what holds of a model under whatever levers


def assert_a_batch_is_its_rows(toy: Family, model: PreTrainedModel, prompts: Sequence[str] = PROMPTS) -> Any:
    """In logits and ids, each prompt unpadded. Returns what the batch generated."""
    together = generate(model, toy.inputs(prompts))
    for b, prompt in enumerate(prompts):
        alone = generate(model, toy.inputs([prompt]))
        torch.testing.assert_close(torch.stack(together.logits)[:, b], torch.stack(alone.logits)[:, 0], **CLOSE)
        assert torch.equal(answers(together)[b], answers(alone)[0])
    return together


def assert_decoding_is_one_forward(toy: Family, model: PreTrainedModel) -> None:
    """Over prompts and what was decoded behind them, which labels tell to be answers."""
    inputs = toy.inputs(PROMPTS[:2])
    with torch.no_grad():
        made = generate(model, inputs)
        whole = model(**with_answers(toy, inputs, made.sequences), labels=answered(inputs, made.sequences), use_cache=False).logits
    torch.testing.assert_close(torch.stack(made.logits, 1), whole[:, -STEPS - 1:-1], **CLOSE)


def assert_beams_or_static_are_single_dynamic_ones(toy: Family, model: PreTrainedModel, settings: dict[str, Any]) -> None:
    dynamic = {key: value for key, value in settings.items() if key == "num_beams"}
    together = answers(generate(model, toy.inputs(PROMPTS[:2]), **settings))
    for b, prompt in enumerate(PROMPTS[:2]):
        assert torch.equal(together[b], answers(generate(model, toy.inputs([prompt]), **dynamic))[0])


def assert_a_dialogue_goes_on_behind_its_cache(toy: Family, model: PreTrainedModel) -> None:
    """The second turn's tokens are appended to what the cache holds; each token is what one pass over everything makes of it."""
    inputs, more = toy.inputs(["ssIqqq"]), torch.tensor([[30, 31, 32]])
    with torch.no_grad():
        made = generate(model, inputs)  # its cache holds all but the last decoded token
        ids, whole = torch.cat([made.sequences[:, -1:], more], 1), torch.cat([made.sequences, more], 1)
        continued = model(input_ids=ids, past_key_values=made.past_key_values, attention_mask=torch.ones_like(whole)).logits
        labels = answered(inputs, whole)
        labels[:, -ids.shape[1]:] = -100  # what comes in one piece is read as the next turn, the last decoded token with it
        wanted = model(**with_answers(toy, inputs, whole), labels=labels, use_cache=False).logits
    torch.testing.assert_close(continued, wanted[:, -ids.shape[1]:], **CLOSE)


def assert_a_question_behind_its_image_s_cache_is_refused(toy: Family, model: PreTrainedModel) -> None:
    """Of LLaVA, whose image begins the prompt's second token and has four."""
    inputs = toy.inputs(["sIqq"])
    with torch.no_grad():
        cache = model(input_ids=inputs["input_ids"][:, :5], pixel_values=inputs["pixel_values"], use_cache=True).past_key_values
        with pytest.raises(ValueError, match="must be read in one piece"):
            model(input_ids=inputs["input_ids"][:, 5:], past_key_values=cache)


def answered(inputs: dict[str, Any], sequences: Tensor) -> Tensor:
    """Labels that tell what stands behind the prompt."""
    return sequences.masked_fill(torch.arange(sequences.shape[1]) < inputs["input_ids"].shape[1], -100)


# --- levers, and what they are by hand

CHANNELS, THRESHOLD = tuple(range(12)), 1.7
SINKS = VAR(CHANNELS, sink_keep=0.4, max_sink_share=0.95, min_image_mass=0.02, threshold=THRESHOLD, last_layer=-1)
LEVERS: dict[str, dict[str, Any]] = {
    "mutual": {"mask": ModalityMutual()}, "blocks": {"mask": ImageBlock()}, "apart": {"mask": Composite()}, "var": {"reweight": [SINKS]},
    "pai": {"reweight": [PAI(alpha=0.3, first_layer=1, last_layer=-1)]}, "var and mutual": {"mask": ModalityMutual(), "reweight": [SINKS]}}


def hand_made(model: PreTrainedModel, inputs: dict[str, Any], lever: str) -> Dense:
    """What `LEVERS[lever]` makes of a prompt and the tokens decoded behind it."""
    image = inputs["input_ids"][0] == IMAGE
    n = len(image) + STEPS
    visible = {"mutual": mutual, "blocks": blocks, "apart": apart, "var and mutual": mutual}.get(lever, lambda image, n: causal(n))(image, n)
    if lever == "pai":
        first = pai(image, 0.3)
        return Dense(visible, scores=lambda layer, s: first(layer, s) if layer >= 1 else s)
    if "var" not in lever:
        return Dense(visible)
    with by_hand(model, Dense(visible)):  # of three layers only the last has sinks, so VAR does nothing before them
        sinks = massive(model, decoder_layers(model), inputs, CHANNELS, THRESHOLD)
    return Dense(visible, var(sinks, image, len(image), 0.4, 0.95, 0.02))
