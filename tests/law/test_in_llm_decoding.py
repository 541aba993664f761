"""Decoding with a stream is reading the whole: media are projected once, and beams, caches, padding and other samples change nothing."""
import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig, StaticCache

import mm
from mm.attention import Plan, activated
from mm.keep import All
from mm.language import insert
from mm.language.arguments import CACHE
from mm.masks import ImageBlock, PositionCausal
from mm.models import VLM
from mm.positions import Concentric, Restart
from mm.reweight import VAR, ZeroTuning
from mm.streams import DualCrossAttention, Sources, Stream, showing
from mm.streams.crossing import HOME
from tests.crossings import opened, rows_of, streamed, watching
from tests.toys import tiny
from tests.vlms import picture
from tests.watching import CLOSE, SAMPLES, clip, each_family, each_stream

LEVERS: dict[str, dict[str, Any]] = {
    "none": {}, "image block": {"mask": ImageBlock()}, "restart": {"positions": Restart()},
    "CCA": {"mask": PositionCausal(), "positions": Concentric()}, "ZeroTuning": {"reweight": [ZeroTuning(1.5)]},
    "VAR": {"reweight": [VAR(range(32), threshold=1.5, max_sink_share=0.95, min_image_mass=0.001, first_layer=0, last_layer=-1)]}}


def decoded(vlm: VLM, samples: list[Any], **settings: Any) -> tuple[Any, Any]:
    """The batch, and what generate made of it, six tokens behind each prompt with their logits."""
    batch = vlm.processor.collate([vlm.processor.prompt(sample) for sample in samples], left=True)
    plan = Plan(vlm.mask, batch.tokens, None, vlm.positions, tuple(vlm.reweight))
    config = GenerationConfig(max_new_tokens=6, min_new_tokens=6, output_logits=True, output_scores=True, pad_token_id=0,
                              return_dict_in_generate=True, disable_compile=True, **settings)
    with torch.no_grad(), activated(plan):
        embeds, sources = vlm.read(batch)
        with showing(sources):
            made = vlm.language.model.generate(inputs_embeds=embeds, attention_mask=batch.tokens.is_real.long(), generation_config=config)
    return batch, made


@torch.no_grad()
def read_whole(vlm: VLM, batch: Any, ids: Tensor) -> Tensor:
    """Logits of each decoded token, [B, n, vocabulary], of one pass over prompt and answer."""
    embeds, sources = vlm.read(batch)
    tokens = batch.tokens.extend(ids.shape[1])
    sources = sources and Sources(sources.features, sources.pieces, tokens)
    position = vlm.positions.assign(tokens)
    whole = torch.cat([embeds, vlm.language.embed(ids)], 1)
    hidden = vlm.language(whole, vlm.mask, tokens.at(position), position, vlm.reweight, None, sources)
    start = batch.tokens.shape[1] - 1
    return vlm.language.head(hidden[:, start:start + ids.shape[1]])


@each_family
@each_stream
def test_decoding_is_one_pass_over_the_whole(stream: Callable[[], Stream], family: str) -> None:
    vlm = streamed(stream(), family)
    batch, made = decoded(vlm, SAMPLES)
    torch.testing.assert_close(torch.stack(made.logits, 1), read_whole(vlm, batch, made.sequences), **CLOSE)


@pytest.mark.parametrize("levers", LEVERS.values(), ids=LEVERS)
def test_levers_and_streams_compose(levers: dict[str, Any]) -> None:
    vlm, bare = (streamed(DualCrossAttention(every=1), keep=All(), **chosen) for chosen in (levers, {}))
    batch, made = decoded(vlm, SAMPLES[1:])
    torch.testing.assert_close(torch.stack(made.logits, 1), read_whole(vlm, batch, made.sequences), **CLOSE)
    for one, sample in enumerate(SAMPLES[1:]):
        torch.testing.assert_close(decoded(vlm, [sample])[1].logits[0][0], made.logits[0][one], **CLOSE)
    if "mask" in levers or "reweight" in levers:
        assert not torch.equal(made.logits[0], decoded(bare, SAMPLES[1:])[1].logits[0])


@each_stream
def test_answers_of_a_batch_are_those_of_its_prompts_alone(stream: Callable[[], Stream]) -> None:
    vlm = streamed(stream())
    for settings in ({}, {"num_beams": 3}):
        together = vlm.generate(SAMPLES, max_new_tokens=5, **settings)
        assert together == [vlm.generate([sample], max_new_tokens=5, **settings)[0] for sample in SAMPLES]
    assert len(set(together)) > 1


@pytest.mark.parametrize("settings", [{"num_beams": 3, "num_return_sequences": 2}, {"cache_implementation": "static"}], ids=["beams", "static"])
@each_stream
def test_beams_and_caches_read_the_same_media(stream: Callable[[], Stream], settings: dict[str, Any]) -> None:
    vlm = streamed(stream())
    made = decoded(vlm, SAMPLES, **settings)[1]
    if "num_beams" not in settings:
        wanted = decoded(vlm, SAMPLES)[1]
        assert torch.equal(made.sequences, wanted.sequences)
        return
    for sample, beams, scores in zip(SAMPLES, made.sequences.split(2), made.sequences_scores.split(2), strict=True):
        prompt = vlm.processor.collate([vlm.processor.prompt(sample)], left=True)
        for ids, given in zip(beams, scores, strict=True):  # the mean of a beam's log-probabilities, read in one pass
            score = read_whole(vlm, prompt, ids[None]).log_softmax(-1)[0].gather(-1, ids[:, None]).mean()
            torch.testing.assert_close(score, given, rtol=0, atol=1e-4)


def test_media_are_projected_once_and_only_text_reads_while_decoding() -> None:
    vlm = streamed(DualCrossAttention(every=1))
    counts: dict[str, list[int]] = {}
    for name, module in vlm.streams.named_modules():
        if name.endswith((".query", ".key")):
            module.register_forward_hook(lambda module, args, out, name=name: counts.setdefault(name, []).append(args[0].shape[:-1].numel()))
    decoded(vlm, [watching(1, clip(1, 3))])
    for layer in "01":
        features = 3 * 4
        assert counts[f"blocks.{layer}.v2v.attention.key"] == counts[f"blocks.{layer}.t2v.attention.key"] == [features]
        assert counts[f"blocks.{layer}.v2v.attention.query"] == [3]
        assert counts[f"blocks.{layer}.t2v.attention.query"][1:] == [1] * 5


def plain() -> tuple[Any, Tensor, Sources]:
    """A decoder with a stream, prompts, and their media."""
    torch.manual_seed(0)
    model = tiny()
    opened(insert(model, DualCrossAttention(every=1), 6))
    tokens = rows_of(torch.tensor([[-1, 0, 0, -1, -1, -1], [-1, -1, 0, 1, -1, -1]]))
    return model, torch.randint(2, 40, (2, 6)), Sources(torch.randn(12, 6), [[4], [5], [3]], tokens)


@torch.no_grad()
@pytest.mark.parametrize("levered", [False, True], ids=["plain", "steered"])
def test_a_plain_decoder_generates_with_media(levered: bool) -> None:
    model, ids, sources = plain()
    steering = mm.steer(model, mask=ImageBlock(), tokens=sources.tokens)
    if levered:
        steering.install()
    with showing(sources):
        made = model.generate(ids, max_new_tokens=5, do_sample=False, output_logits=True, return_dict_in_generate=True)
    if levered:
        steering.uninstall()
    whole = Sources(sources.features, sources.pieces, sources.tokens.extend(5))
    with mm.steer(model, mask=ImageBlock() if levered else None, tokens=whole.tokens):
        wanted = model(made.sequences, mm_sources=whole).logits[:, 5:-1]
    torch.testing.assert_close(torch.stack(made.logits, 1), wanted, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
def test_prompts_may_be_read_in_pieces_and_go_on_in_more_than_one_token(static: bool) -> None:
    model, ids, sources = plain()
    more = torch.randint(2, 40, (2, 5))
    wanted = model(torch.cat([ids, more], 1), mm_sources=Sources(sources.features, sources.pieces, sources.tokens.extend(5))).logits
    cache = {CACHE: StaticCache(config=model.config, max_cache_len=16)} if static else {"use_cache": True}
    found = [(out := model(ids[:, :3], mm_sources=sources, **cache)).logits]
    held = getattr(out, CACHE)
    for piece in (ids[:, 3:5], ids[:, 5:]):
        found.append(model(piece, mm_sources=sources, **{CACHE: held}).logits)
    for piece in (more[:, :1], more[:, 1:4], more[:, 4:]):
        found.append(model(piece, **{CACHE: held}).logits)
    torch.testing.assert_close(torch.cat(found, 1), wanted, **CLOSE)


@torch.no_grad()
def test_a_cache_that_is_copied_or_cut_back_keeps_its_media() -> None:
    model, ids, sources = plain()
    more = torch.randint(2, 40, (2, 2))
    cache = getattr(model(ids, mm_sources=sources, use_cache=True), CACHE)
    twin = copy.deepcopy(cache)
    wanted = model(more, **{CACHE: cache}).logits
    assert torch.equal(model(more, **{CACHE: twin}).logits, wanted)
    cache.crop(-2)
    assert torch.equal(model(more, **{CACHE: cache}).logits, wanted)
    assert getattr(cache, HOME).keys.keys() == {0, 1}
    blind = model(torch.cat([ids, more], 1)).logits[:, 6:]
    assert not torch.allclose(blind, wanted, atol=1e-2)


@torch.no_grad()
def test_text_behind_a_prompt_that_was_cut_back_reads_no_media_of_what_was_cut() -> None:
    model, ids, _ = plain()
    more, features = torch.randint(2, 40, (1, 4)), torch.randn(9, 6)
    first = Sources(features, [[4], [5]], rows_of(torch.tensor([[-1, 0, -1, -1, 1, -1]])))
    cache = getattr(model(ids[:1], mm_sources=first, use_cache=True), CACHE)
    cache.crop(-3)
    found = torch.cat([model(piece, **{CACHE: cache}).logits for piece in more.split([2, 1, 1], 1)], 1)  # past the place of what was cut
    left = Sources(features[:4], [[4]], rows_of(torch.tensor([[-1, 0, -1, -1, -1, -1, -1]])))
    torch.testing.assert_close(found, model(torch.cat([ids[:1, :3], more], 1), mm_sources=left).logits[:, 3:], **CLOSE)


@torch.no_grad()
def test_the_next_prompt_of_a_cache_does_not_remember_the_last_one_s_media() -> None:
    model, ids, sources = plain()
    cache = StaticCache(config=model.config, max_cache_len=16)
    model(ids, mm_sources=sources, **{CACHE: cache})
    cache.reset()
    wanted = [model(ids).logits, model(torch.cat([ids, ids[:, :1]], 1)).logits[:, -1:]]
    assert torch.equal(model(ids, **{CACHE: cache}).logits, wanted[0])
    torch.testing.assert_close(model(ids[:, :1], **{CACHE: cache}).logits, wanted[1], **CLOSE)


@torch.no_grad()
def test_what_does_not_belong_together_is_refused() -> None:
    model, ids, sources = plain()
    with pytest.raises(ValueError, match="the media are of 2 rows and the model reads 3"):
        model(ids[[0, 1, 1]], mm_sources=sources)
    with pytest.raises(ValueError, match="rows of 6 tokens and the model reads tokens 0 to 11"):
        model(torch.cat([ids, ids], 1), mm_sources=sources)
    with pytest.raises(ValueError, match="the media's features are 7 wide, and the blocks of the stream read features of 6"):
        model(ids, mm_sources=Sources(torch.zeros(12, 7), sources.pieces, sources.tokens))
    cache = getattr(model(ids, use_cache=True), CACHE)
    with pytest.raises(ValueError, match="behind 6 cached tokens that were read without them; read the whole row again"):
        model(ids, mm_sources=sources, **{CACHE: cache})
    cache = getattr(model(ids, mm_sources=sources, use_cache=True), CACHE)
    cache.batch_select_indices(torch.tensor([1]))
    with pytest.raises(ValueError, match="the cache knows the media of 2 rows and the model reads 1"):
        model(ids[1:], **{CACHE: cache})


def test_text_behind_padding_is_refused() -> None:
    vlm = streamed(DualCrossAttention(every=1))
    batch = vlm.processor.collate([vlm.processor.prompt(sample) for sample in (watching(1), watching(2, picture(1), picture(2)))])
    with torch.no_grad(), showing(vlm.read(batch)[1]), pytest.raises(ValueError, match="ends with padding, and decoded tokens would follow it"):
        vlm.language.model.generate(inputs_embeds=vlm.read(batch)[0], max_new_tokens=2, pad_token_id=0)
