"""The pitfalls of steering a transformers model through its extension points: each is held by a test, here or where its subject is tested.

 1 odd position ids taken for packed rows     here, tests/law/test_seam.py::test_odd_position_ids_are_not_taken_for_packed_rows
 2 flash attention ignores masks              tests/law/test_steer_refusals.py::test_flash_attention_is_refused_for_a_plan_that_is_not_causal
 3 a mask of the wrong dtype is added         here, tests/law/test_seam.py::test_a_mask_never_reaches_a_kernel_that_would_misread_it
 4 fully masked rows                          tests/law/test_masks.py::test_a_mask_that_blinds_a_token_is_refused_by_name
                                              tests/law/test_seam.py::test_no_row_is_wholly_masked_so_padding_gives_no_nan
 5 one tensor widens a sliding window         here, tests/law/test_seam.py::test_sliding_layers_keep_their_window
 6 a mask dropped for a causal flag           here
 7 vision towers on the text's attention      tests/law/test_seam.py::test_only_the_language_part_is_put_on_the_seam
                                              tests/law/test_steer_generate.py::test_the_vision_tower_is_never_touched
 8 the registry is global                     tests/law/test_seam.py::test_the_registry_entry_of_others_is_not_touched
 9 recomputed layers, other threads           here, tests/law/test_steer_training.py::test_training_under_levers_is_exact_under_gradient_checkpointing
10 chunked prefill, assisted decoding         here
                                              tests/law/test_steer_caches.py::test_a_question_that_comes_in_a_later_piece_than_its_image_is_refused
11 left padding                               tests/law/test_steer_generate.py::test_a_batch_of_four_is_four_single_runs
12 rows of beams                              tests/law/test_steer_generate.py::test_beams_and_static_caches_are_those_of_single_dynamic_ones
13 rotary factors by the largest position     here
14 positions in three axes                    tests/law/test_steer_refusals.py::test_what_cannot_hold_is_refused_with_the_reason
15 ALiBi and learned positions                here
16 output_attentions                          here
"""
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedModel
from transformers import __version__ as transformers_version

import mm
from mm.attention import Plan, Recorder, activated, active_plan
from mm.language import seam
from mm.masks import Causal, ImageBlock, Mask, PositionCausal, Prefix
from mm.positions import Concentric, Positions, Sequential
from mm.tokens import TokenMap
from tests.families import FAMILIES
from tests.generation import LEVERS, family
from tests.levers import Doubled
from tests.toys import VOCABULARY, ids_for, row, tiny

CLOSE: dict[str, float] = {"rtol": 0, "atol": 2e-5}
# Before, a chunk's pictures were dropped, and its placeholders read as text.
ENCODES_FIRST = tuple(map(int, transformers_version.split(".")[:2])) >= (5, 18)


def by_eager(ids: Tensor, visible: Tensor, positions: Tensor) -> Tensor:
    """Logits of the stock eager model, told by an additive mask who sees whom. visible: bool [B, 1, N, N]."""
    bias = torch.zeros(visible.shape).masked_fill(~visible, -torch.inf)
    with torch.no_grad():
        return tiny(implementation="eager")(input_ids=ids, attention_mask=bias, position_ids=positions).logits


def read(model: PreTrainedModel, ids: Tensor, tokens: TokenMap, mask: Mask | None = None, positions: Positions | None = None, **more: Any) -> Tensor:
    with torch.no_grad(), mm.steer(model, mask=mask, positions=positions, tokens=tokens):
        return model(input_ids=ids, **more).logits


def test_the_tests_of_the_table_exist() -> None:
    root = Path(__file__).parents[2]
    named = [found for path in (root / "tests").rglob("*.py") for found in re.findall(r"(tests/\S+\.py)::(\w+)", path.read_text())]
    assert len(named) > 20
    for file, name in named:
        assert f"def {name}(" in (root / file).read_text(), f"{file}::{name}"


def test_pitfall_01_concentric_ids_are_not_taken_for_packed_rows() -> None:
    """Without an attention mask transformers takes ids that do not go up by one for packed sequences."""
    tokens = row("ss" + "i" * 16 + "qq", cols=4)
    ids, places = ids_for(tokens), Concentric().assign(tokens)
    for mask in (None, PositionCausal()):
        wanted = by_eager(ids, (mask or Causal()).dense(tokens.at(places)), places)
        torch.testing.assert_close(read(tiny(), ids, tokens, mask, Concentric()), wanted, **CLOSE)
    with torch.no_grad():
        guessed = tiny()(input_ids=ids, position_ids=places, use_cache=False).logits
    assert (guessed - by_eager(ids, Causal().dense(tokens), places)).abs().max() > 1e-2  # the trap is still there


def test_pitfall_02_flash_attention_never_runs_a_steered_model() -> None:
    """It takes ids of its own for packed rows, too; where a causal lever is all there is, the model runs on mm's attention."""
    model = tiny()
    model.config._attn_implementation_internal = "flash_attention_2"
    steering = mm.steer(model, positions=Concentric())
    steering.install()
    assert model.config._attn_implementation == "mm"


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_pitfall_03_a_float_mask_beside_levers_is_an_error_or_is_not_used(implementation: str) -> None:
    tokens = row("siiqq")
    ids, ones = ids_for(tokens), torch.ones(1, 1, 5, 5)  # 0 and 1 as floats: sdpa and eager would add them
    with pytest.raises(ValueError, match="which kernels would add to the scores instead"):
        read(tiny(implementation=implementation), ids, tokens, None, Concentric(), attention_mask=ones)
    found = read(tiny(implementation=implementation), ids, tokens, ImageBlock(), attention_mask=ones)
    torch.testing.assert_close(found, by_eager(ids, ImageBlock().dense(tokens), tokens.depth), **CLOSE)


def test_pitfall_05_one_mask_for_all_layers_does_not_widen_a_window() -> None:
    tokens = row("siiiiqqqqqqq")
    ids, model = ids_for(tokens), tiny("gemma3_text")
    found = read(model, ids, tokens, ImageBlock())
    seam.install(model)
    with torch.no_grad():
        wanted = model(input_ids=ids, attention_mask=seam.attention_argument(model, ImageBlock(), tokens), position_ids=tokens.depth).logits
        widened = model(input_ids=ids, attention_mask=ImageBlock().dense(tokens), position_ids=tokens.depth).logits
    torch.testing.assert_close(found, wanted, **CLOSE)
    assert (widened - wanted).abs().max() > 1e-2  # the trap is still there


def test_pitfall_06_a_rule_is_not_dropped_where_nothing_is_padded() -> None:
    """The stock mask is then None, and the kernel takes its causal flag."""
    tokens = row("siiiiqq")
    ids = ids_for(tokens)
    found = read(tiny(), ids, tokens, ImageBlock(), attention_mask=torch.ones(1, 7, dtype=torch.long))
    torch.testing.assert_close(found, by_eager(ids, ImageBlock().dense(tokens), tokens.depth), **CLOSE)
    assert (found - by_eager(ids, Causal().dense(tokens), tokens.depth)).abs().max() > 1e-2


def test_pitfall_09_a_plan_of_one_thread_is_not_active_in_another() -> None:
    with ThreadPoolExecutor(1) as pool, activated(Plan(Prefix())):
        assert active_plan() is not None
        assert pool.submit(active_plan).result() is None


def test_pitfall_09_levers_of_a_model_hold_in_every_thread_and_for_no_other_model() -> None:
    """Replicas and backward passes run in threads that inherit no context: levers lie on the model, readings travel as arguments."""
    tokens = row("siiiiqq")
    ids = ids_for(tokens)
    masks: list[Mask] = [Causal(), ImageBlock(), Prefix()]
    wanted = [by_eager(ids, mask.dense(tokens), tokens.depth) for mask in masks]
    models = [tiny() for _ in masks]
    steerings = [mm.steer(model, mask=mask, tokens=tokens) for model, mask in zip(models, masks, strict=True)]
    for steering in steerings:
        steering.install()

    def often(model: PreTrainedModel) -> list[Tensor]:
        with torch.no_grad():
            return [model(input_ids=ids).logits for _ in range(10)]

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(often, models))
    for logits, expected in zip(found, wanted, strict=True):
        for each in logits:
            torch.testing.assert_close(each, expected, **CLOSE)


@pytest.mark.parametrize("lever", ["mutual", "var", "pai"])
def test_pitfall_10_guesses_taken_from_the_prompt_change_nothing(lever: str) -> None:
    """They are read several at once behind the cache, and cut off it again."""
    toy_family = family("llava")
    model, inputs = toy_family.model(), toy_family.inputs(["ssIqqq"])
    with mm.steer(model, **LEVERS[lever]):
        wanted = model.generate(**inputs, max_new_tokens=12, do_sample=False)
        assert torch.equal(model.generate(**inputs, max_new_tokens=12, do_sample=False, prompt_lookup_num_tokens=3), wanted)


@pytest.mark.parametrize("levers", [{"mask": Prefix()}, {"positions": Doubled()}], ids=str)
def test_pitfall_10_assisted_decoding_changes_nothing(levers: dict[str, Any]) -> None:
    model, ids, settings = tiny(seed=3), torch.tensor([[5, 6, 7, 8, 5, 6]]), {"max_new_tokens": 12, "do_sample": False}
    with mm.steer(model, **levers):
        wanted = model.generate(ids, **settings)
        assert torch.equal(model.generate(ids, assistant_model=tiny(seed=4), **settings), wanted)
    assert not torch.equal(model.generate(ids, **settings), wanted)


def test_pitfall_10_prefill_in_chunks_is_exact_or_refused() -> None:
    toy_family = family("llava")
    model, inputs = toy_family.model(), toy_family.inputs(["ssIqqq"])
    config = GenerationConfig(max_new_tokens=6, do_sample=False, pad_token_id=0)
    chunked = GenerationConfig(max_new_tokens=6, do_sample=False, pad_token_id=0, prefill_chunk_size=4)
    for lever in ("var", "pai", "apart"):
        with mm.steer(model, **LEVERS[lever]):
            if ENCODES_FIRST:
                assert torch.equal(model.generate(**inputs, generation_config=chunked), model.generate(**inputs, generation_config=config))
            else:
                with pytest.raises(ValueError, match="tokens 0 to 3 of the prompt hold pictures, and generate of transformers"):
                    model.generate(**inputs, generation_config=chunked)
    for lever in ("mutual", "blocks", "var and mutual"):
        with mm.steer(model, **LEVERS[lever]), pytest.raises(ValueError, match="in one piece"):
            model.generate(**inputs, generation_config=chunked)


@pytest.mark.parametrize("name", FAMILIES)
def test_pitfall_10_no_family_reads_a_chunk_without_its_pictures(name: str) -> None:
    toy_family = FAMILIES[name]
    model, inputs = toy_family.model(), toy_family.inputs(["ssIqqq"])
    chunked = GenerationConfig(max_new_tokens=6, do_sample=False, pad_token_id=0, prefill_chunk_size=4)
    with mm.steer(model, mask=Causal()):
        wanted = model.generate(**inputs, max_new_tokens=6, do_sample=False, pad_token_id=0)
        refusal = ""
        try:
            found = model.generate(**inputs, generation_config=chunked)
        except ValueError as error:
            refusal = str(error)
    if refusal:
        assert "hold pictures" in refusal or "multimodal inputs" in refusal
    else:
        assert torch.equal(found, wanted)


def test_pitfall_13_rotary_factors_follow_the_shortened_positions() -> None:
    """Dynamic NTK changes beyond 16 positions. A row of 40 tokens has seven under rings: it stays below, as the docstring of Concentric says."""
    tokens = row("s" + "i" * 36 + "qqq", cols=6)
    ids = ids_for(tokens)
    dynamic: dict[str, Any] = {"max_position_embeddings": 16, "rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}}
    usual: dict[str, Any] = {"max_position_embeddings": 16}
    assert int(Concentric().assign(tokens).max()) == 6
    rings, raster = ([read(tiny(**config), ids, tokens, Causal(), positions) for config in (dynamic, usual)]
                     for positions in (Concentric(), Sequential()))
    torch.testing.assert_close(*rings, **CLOSE)
    assert (raster[0] - raster[1]).abs().max() > 1e-2


def fresh(kind: str, **settings: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "bos_token_id": 1, "eos_token_id": 2}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes | settings), attn_implementation="eager").eval()


@pytest.mark.parametrize(("kind", "settings"), [("mpt", {"d_model": 32, "n_heads": 4, "n_layers": 2}), ("bloom", {}), ("falcon", {"alibi": True})])
def test_pitfall_15_alibi_is_refused(kind: str, settings: dict[str, Any]) -> None:
    model = fresh(kind, **settings)
    with pytest.raises(seam.UnsupportedModelError, match="adds ALiBi biases to the scores"):
        mm.steer(model, mask=ImageBlock()).install()
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(("kind", "settings"), [("gpt2", {}), ("opt", {"ffn_dim": 40, "word_embed_proj_dim": 32})])
def test_pitfall_15_learned_positions_are_looked_up_where_the_lever_puts_them(kind: str, settings: dict[str, Any]) -> None:
    """As far as the table reaches: rings of them mean what the model has learned for a text of that many tokens."""
    model, tokens = fresh(kind, **settings), row("siiqq")
    ids = ids_for(tokens)
    with torch.no_grad():
        wanted = model(input_ids=ids, position_ids=2 * tokens.depth, attention_mask=torch.ones_like(ids)).logits
        plain = model(input_ids=ids).logits
    torch.testing.assert_close(read(model, ids, tokens, None, Doubled()), wanted, **CLOSE)
    assert (wanted - plain).abs().max() > 1e-2


def test_pitfall_16_weights_that_are_never_made_are_not_promised() -> None:
    model, ids = tiny(), ids_for(row("siiqq"))
    with mm.steer(model, mask=Prefix()):
        with pytest.raises(ValueError, match=r"watch the rows you want with a mm.attention.Recorder"):
            model(input_ids=ids, output_attentions=True)
        with pytest.raises(ValueError, match=r"watch the rows you want with a mm.attention.Recorder"):
            model.generate(ids, max_new_tokens=2, output_attentions=True, return_dict_in_generate=True)
    recorder = Recorder()
    with mm.steer(model, mask=Prefix(), recorder=recorder), torch.no_grad():
        model(input_ids=ids)
    assert {layer: weights.shape for layer, weights in recorder.steps[0].items()} == dict.fromkeys((0, 1), (1, 4, 1, 5))
