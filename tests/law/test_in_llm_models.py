"""A model with a stream trains, saves, loads and reads: without effect at first, the same alone and in company, and gone when it is taken out."""
import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import mm
from mm.language import insert
from mm.language.last import passes_on
from mm.language.seam import UnsupportedModelError
from mm.masks import ImageBlock
from mm.models import VLM, Branches
from mm.models.processor import pack
from mm.positions import Restart
from mm.reweight import ZeroTuning
from mm.sample import Media, Sample, Turn
from mm.streams import AllPrevious, DualCrossAttention, GatedCrossAttention, LlamaVisionCrossAttention, Marker, OwnFrame, Sources, Stream
from mm.streams.base import ClipProjector, Grid
from mm.streams.linear import Linear
from mm.training.checkpoint import load_weights
from mm.training.rates import freeze_others, groups_of
from tests.crossings import opened, rows_of, streamed, watching
from tests.toys import FAMILIES, tiny
from tests.vlms import picture, text, toy

STREAMS: dict[str, Callable[[], Stream]] = {
    "dual": lambda: DualCrossAttention(every=1), "own frame": lambda: DualCrossAttention(every=2, scope=OwnFrame()),
    "between": lambda: DualCrossAttention(every=1, placement="after_self_attention"),
    "gated": lambda: GatedCrossAttention(every=1, heads=2, head_width=8),
    "gated, all": lambda: GatedCrossAttention(every=2, heads=2, head_width=8, seen=AllPrevious()),
    "llama vision": lambda: LlamaVisionCrossAttention(every=1)}
CLOSE = {"rtol": 0, "atol": 5e-5}
each_stream = pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
each_family = pytest.mark.parametrize("family", FAMILIES)


def clip(seed: int, frames: int) -> Media:
    return replace(picture(seed, frames), kind="clip")


SAMPLES = [watching(1), watching(2, picture(2), clip(3, 3)), text(), watching(4, clip(5, 2), question="what do you see ?")]


def hidden(vlm: VLM, *samples: Sample, left: bool = False) -> list[Tensor]:
    """Of each sample's tokens."""
    batch = vlm.processor.collate([vlm.processor.encode(sample) for sample in samples], left)
    with torch.no_grad():
        return [states[real] for states, real in zip(vlm.hidden(batch), batch.tokens.is_real, strict=True)]


@each_family
@each_stream
def test_a_fresh_stream_changes_no_bit(stream: Callable[[], Stream], family: str) -> None:
    vlm = streamed(stream(), family, is_open=False)
    plain = VLM(vlm.vision, vlm.projector, toy(family).language, keep=vlm.keep)
    plain.language.load_state_dict(vlm.language.state_dict())
    for found, wanted in zip(hidden(vlm, *SAMPLES), hidden(plain.eval(), *SAMPLES), strict=True):
        assert torch.equal(found, wanted)
    assert vlm.generate(SAMPLES, max_new_tokens=3) == plain.generate(SAMPLES, max_new_tokens=3)


@each_family
@each_stream
def test_what_the_media_show_reaches_the_text_behind_them_only(stream: Callable[[], Stream], family: str) -> None:
    vlm = streamed(stream(), family)
    first, other = (Sample("s", (picture(1), picture(seed)), (Turn("do <image> you <image> see ?", "yes"),)) for seed in (2, 3))
    one, two = hidden(vlm, first)[0], hidden(vlm, other)[0]
    batch = vlm.processor.collate([vlm.processor.encode(first)])
    begins = int((batch.tokens.media[0] == 1).nonzero()[0])
    assert torch.equal(one[:begins], two[:begins])
    assert (one[begins:] - two[begins:]).abs().amax(-1).min() > 1e-3


@each_family
@each_stream
def test_a_batch_is_its_rows_alone_however_it_is_padded(stream: Callable[[], Stream], family: str) -> None:
    vlm = streamed(stream(), family)
    alone = [hidden(vlm, sample)[0] for sample in SAMPLES]
    for left in (False, True):
        for found, wanted in zip(hidden(vlm, *SAMPLES, left=left), alone, strict=True):
            torch.testing.assert_close(found, wanted, **CLOSE)


@each_stream
def test_packed_rows_are_their_documents_alone(stream: Callable[[], Stream]) -> None:
    vlm = streamed(stream(), positions=Restart(), mask=ImageBlock())
    packed = vlm.processor.collate([pack([vlm.processor.encode(sample) for sample in SAMPLES])])
    with torch.no_grad():
        states = vlm.hidden(packed)[0]
    for document, sample in enumerate(SAMPLES):
        torch.testing.assert_close(states[packed.tokens.document[0] == document], hidden(vlm, sample)[0], **CLOSE)


@each_stream
def test_a_branch_is_the_dialogue_that_it_stands_for(stream: Callable[[], Stream]) -> None:
    turns = (Turn("<image> is there a star ?", "yes"), Turn("what do you see ?", "a ring"))
    vlm = streamed(stream(), positions=Restart(), layout=Branches())
    sample = Sample("s", (picture(1),), turns)
    states, batch = hidden(vlm, sample)[0], vlm.processor.collate([vlm.processor.encode(sample)])
    for branch in (1, 2):
        row = vlm.processor.encode(vlm.layout.alone(sample, branch - 1))
        batched = vlm.processor.collate([row])
        with torch.no_grad():
            wanted = vlm.hidden(batched)[0]
        shared = (batch.tokens.branch[0] == 0) | (batch.tokens.branch[0] == branch)
        torch.testing.assert_close(states[shared], wanted, **CLOSE)


def gradients(vlm: VLM) -> dict[str, Tensor]:
    out = vlm.train()(vlm.processor.collate([vlm.processor.encode(sample) for sample in SAMPLES]))
    cross_entropy(out.logits, out.targets).backward()
    return {name: parameter.grad for name, parameter in vlm.named_parameters() if parameter.grad is not None}


@each_family
@each_stream
def test_gradient_checkpointing_changes_no_gradient(stream: Callable[[], Stream], family: str) -> None:
    plain, checkpointed = (gradients(streamed(stream(), family, gradient_checkpointing=on)) for on in (False, True))
    assert sum(name.startswith("streams.") for name in plain) >= 6
    assert plain.keys() == checkpointed.keys()
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)


def test_two_forward_passes_before_their_backward_passes_keep_their_media_apart() -> None:
    vlm = streamed(DualCrossAttention(every=1), gradient_checkpointing=True).train()
    batches = [vlm.processor.collate([vlm.processor.encode(sample)]) for sample in SAMPLES[:2]]
    losses = [cross_entropy((out := vlm(batch)).logits, out.targets) for batch in batches]
    gate = vlm.streams.blocks["0"].v2v.attention.key.weight
    late = [torch.autograd.grad(loss, gate)[0] for loss in losses]
    for batch, found in zip(batches, late, strict=True):
        out = vlm(batch)
        assert torch.equal(torch.autograd.grad(cross_entropy(out.logits, out.targets), gate)[0], found)


@pytest.mark.parametrize("placement", ["before_layer", "after_layer"])
def test_compiled_layers_compute_the_same(placement: str) -> None:
    vlm = streamed(DualCrossAttention(every=2, placement=placement))
    wanted = hidden(vlm, SAMPLES[1])[0]
    for block in vlm.language.model.base_model.layers:
        block.compile(backend="aot_eager")
    torch.testing.assert_close(hidden(vlm, SAMPLES[1])[0], wanted, **CLOSE)


def test_blocks_within_compiled_layers_are_refused() -> None:
    vlm = streamed(DualCrossAttention(every=1, placement="after_self_attention"))
    for block in vlm.language.model.base_model.layers:
        block.compile(backend="aot_eager")
    with pytest.raises(UnsupportedModelError, match="cannot hold blocks between their self-attention and their MLP; place the blocks after_layer"):
        hidden(vlm, SAMPLES[1])


def test_between_attention_and_mlp_means_what_the_mlp_reads() -> None:
    """By hand, in a layer of Llama: h' = h + attention, h'' = h' + block(h'), h'' + MLP."""
    torch.manual_seed(0)
    model = tiny(num_hidden_layers=1)
    stream = DualCrossAttention(every=1, placement="after_self_attention")
    inserted = insert(model, stream, 6)
    opened(inserted)
    ids = torch.randint(2, 40, (1, 5))
    sources = Sources(torch.randn(4, 6), [[4]], rows_of(torch.tensor([[-1, 0, 0, -1, -1]])))
    layer, seen = model.base_model.layers[0], {}
    for name, module in (("norm", layer.post_attention_layernorm), ("block", inserted.blocks["0"])):
        module.register_forward_hook(lambda module, args, out, name=name: seen.update({name: (args[0], out)}))
    with torch.no_grad():
        out = model(ids, mm_sources=sources, output_hidden_states=True)
        before, after = seen["block"]
        torch.testing.assert_close(seen["norm"][0], after, rtol=0, atol=1e-5)
        wanted = model.lm_head(model.base_model.norm(after + layer.mlp(layer.post_attention_layernorm(after))))
        torch.testing.assert_close(wanted, out.logits, **CLOSE)
        inserted.remove()
        model(ids)
        torch.testing.assert_close(seen["norm"][0], before, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", ["glm4", "minimax"])
def test_layers_that_change_what_their_attention_adds_hold_no_block_behind_it(family: str) -> None:
    """GLM-4 normalises it again, MiniMax adds it to the normalised input."""
    model, ids = tiny(family), torch.randint(2, 40, (1, 5))
    sources = Sources(torch.randn(4, 6), [[4]], rows_of(torch.tensor([[-1, 0, 0, -1, -1]])))
    inserted = insert(model, DualCrossAttention(every=1, placement="after_self_attention"), 6)
    for _ in range(2):
        with pytest.raises(UnsupportedModelError, match="layer 0 of this model does not add what its attention gives"):
            model(ids, mm_sources=sources)
    inserted.remove()
    opened(insert(model, DualCrossAttention(every=1), 6))
    assert not torch.equal(model(ids, mm_sources=sources).logits, model(ids).logits)


@each_stream
def test_a_saved_model_is_loaded_with_its_stream(stream: Callable[[], Stream], tmp_path: Path) -> None:
    vlm = streamed(stream())
    vlm.save(tmp_path / "model")
    loaded = VLM.load(tmp_path / "model")
    for found, wanted in zip(hidden(loaded, *SAMPLES), hidden(vlm, *SAMPLES), strict=True):
        assert torch.equal(found, wanted)
    loaded.save(tmp_path / "again")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()


def test_a_model_is_not_saved_with_other_streams_than_it_has(tmp_path: Path) -> None:
    vlm = streamed(GatedCrossAttention(every=1, heads=2, head_width=8))
    blocks, vlm.streams = vlm.streams, None
    with pytest.raises(ValueError, match="the decoder has a stream that is not the model's"):
        vlm.save(tmp_path / "model")
    vlm.streams = blocks
    blocks.remove()
    with pytest.raises(ValueError, match="were taken out of its decoder, and would be in it again when it is loaded; set its streams to None"):
        vlm.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())
    vlm.streams = None
    vlm.save(tmp_path / "model")
    assert torch.equal(hidden(VLM.load(tmp_path / "model"), SAMPLES[1])[0], hidden(vlm, SAMPLES[1])[0])


def test_a_stream_may_be_new_to_the_weights_that_a_run_starts_with(tmp_path: Path) -> None:
    vlm = streamed(DualCrossAttention(every=1), is_open=False)
    plain = VLM(vlm.vision, vlm.projector, toy(seed=3).language, keep=vlm.keep).eval()
    plain.save(tmp_path / "model")
    load_weights(vlm, tmp_path)
    assert torch.equal(hidden(vlm, SAMPLES[1])[0], hidden(plain, SAMPLES[1])[0])


def test_a_stage_trains_one_branch_by_its_name() -> None:
    vlm = streamed(DualCrossAttention(every=1), is_open=False)
    rates = {"projector": 1e-3, "streams": 1e-3, "streams.*.t2v": 0}
    names = {name for group in groups_of(vlm, rates) for name in group.names if name.startswith("streams.")}
    assert names == {name for name, _ in vlm.named_parameters() if name.startswith("streams.") and ".v2v." in name}
    assert not any(group.decays for group in groups_of(vlm, rates) if any(name.endswith("gate") for name in group.names))
    freeze_others(vlm, rates)
    assert not any(".t2v." in name for name in gradients(vlm))


def test_the_language_model_does_not_own_the_blocks() -> None:
    """What replaces its maps, as adapters of low rank do, finds its own and no others, and blocks go on reading through it."""
    plain, vlm = toy(), streamed(DualCrossAttention(every=1))
    assert list(vlm.language.state_dict()) == list(plain.language.state_dict())

    class Adapted(nn.Module):
        def __init__(self, inner: nn.Linear) -> None:
            super().__init__()
            self.inner, self.down, self.up = inner, nn.Linear(inner.in_features, 2, bias=False), nn.Linear(2, inner.out_features, bias=False)
            nn.init.zeros_(self.up.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) + self.up(self.down(x))

    wanted = hidden(vlm, SAMPLES[1])[0]
    for layer in vlm.language.model.base_model.layers:
        layer.self_attn.q_proj = Adapted(layer.self_attn.q_proj)
    torch.testing.assert_close(hidden(vlm, SAMPLES[1])[0], wanted, **CLOSE)


def test_a_copy_of_a_model_has_blocks_of_its_own() -> None:
    vlm = streamed(DualCrossAttention(every=1))
    wanted, twin = hidden(vlm, SAMPLES[1])[0], copy.deepcopy(vlm)
    with torch.no_grad():
        for parameter in vlm.streams.parameters():
            parameter.zero_()
    assert torch.equal(hidden(twin, SAMPLES[1])[0], wanted)
    assert not torch.equal(hidden(vlm, SAMPLES[1])[0], wanted)


@each_family
def test_taking_a_stream_out_restores_a_decoder_to_the_bit(family: str) -> None:
    model, ids = tiny(family), torch.randint(2, 40, (2, 6))
    wanted, hooks = model(ids).logits, hooks_of(model)
    sources = Sources(torch.randn(8, 6), [[4], [4]], rows_of(torch.tensor([[-1, 0, -1, -1, -1, -1]] * 2)))
    inserted = insert(model, DualCrossAttention(every=1), 6)
    opened(inserted)
    assert torch.equal(model(ids).logits, wanted)  # a call without media
    assert not torch.equal(model(ids, mm_sources=sources).logits, wanted)
    with pytest.raises(ValueError, match="has a stream already; take it out first"):
        insert(model, DualCrossAttention(every=1), 6)
    inserted.remove()
    assert torch.equal(model(ids, mm_sources=sources).logits, wanted)
    assert hooks_of(model) == hooks
    insert(model, DualCrossAttention(every=1), 6).remove()


def hooks_of(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


@each_stream
def test_a_steered_model_reads_its_media_too(stream: Callable[[], Stream]) -> None:
    model, ids = tiny(), torch.randint(2, 40, (2, 6))
    tokens = rows_of(torch.tensor([[-1, 0, 0, 0, -1, -1]] * 2), torch.tensor([[0, 0, 0, 1, 0, 0]] * 2))
    sources = Sources(torch.randn(16, 6), [[4, 4], [4, 4]], tokens)
    inserted = insert(model, stream(), 6)
    opened(inserted)
    with torch.no_grad():
        plain = model(ids, mm_sources=sources).logits
        with mm.steer(model, mask=ImageBlock(), reweight=[ZeroTuning(1.0)], tokens=tokens):
            neutral = model(ids, mm_sources=sources).logits
        with mm.steer(model, mask=ImageBlock(), tokens=tokens):
            steered = model(ids, mm_sources=sources).logits
        assert torch.equal(model(ids, mm_sources=sources).logits, plain)
    assert not torch.equal(steered, plain)
    torch.testing.assert_close(neutral, steered, **CLOSE)


class Halves(ClipProjector):
    """Two tokens a medium: the means of its first and of its second half."""

    def out_grid(self, grid: Grid) -> None:
        return None

    def num_tokens(self, grid: Grid, frames: int = 1) -> int:
        return 2

    def forward(self, x: Tensor, grid: Grid, frames: list[int]) -> Tensor:
        return torch.stack([torch.stack([half.mean(0) for half in clip.flatten(0, 1).chunk(2)]) for clip in x.split(frames)])[..., :self.out_width]


def test_flamingo_reads_what_a_reader_makes_where_a_marker_stands() -> None:
    plain = toy()
    stream = GatedCrossAttention(every=1, heads=2, head_width=8, reader=Halves(16, 12))
    vlm = VLM(plain.vision, Marker(16, 32), plain.language, streams=stream).eval()
    opened(vlm.streams)
    batch = vlm.processor.collate([vlm.processor.encode(sample) for sample in SAMPLES])
    assert batch.tokens.is_vision.sum(1).tolist() == [1, 2, 0, 1]
    sources = vlm.read(batch)[1]
    assert sources.features.shape == (8, 12)
    assert vlm.streams.blocks["0"].read.attention.key.in_features == 12
    alone = [hidden(vlm, sample)[0] for sample in SAMPLES]
    for found, wanted in zip(hidden(vlm, *SAMPLES, left=True), alone, strict=True):
        torch.testing.assert_close(found, wanted, **CLOSE)
    plain = toy(seed=2)
    with pytest.raises(ValueError, match="its reader Halves takes features 8 wide, and the encoder's are 16; build it with in_width=16"):
        VLM(plain.vision, Marker(16, 32), plain.language, streams=GatedCrossAttention(every=1, reader=Halves(8, 12)))


class TwoLayers(Linear):
    """A projector that reads a further layer of the encoder."""

    levels = (-2,)

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__(in_width, out_width)
        self.map = nn.Linear(2 * in_width, out_width)


def test_blocks_read_the_encoder_s_own_features_whatever_the_projector_reads() -> None:
    wide = toy(projector=TwoLayers, depth=2)
    vlm = VLM(wide.vision, wide.projector, wide.language, streams=DualCrossAttention(every=1)).eval()
    batch = vlm.processor.collate([vlm.processor.encode(SAMPLES[1])])
    with torch.no_grad():
        assert torch.equal(vlm.read(batch)[1].features, vlm.vision(batch.pixels).flatten(0, 1))
    plain = toy()
    with pytest.raises(ValueError, match=r"its reader TwoLayers wants further layers of the encoder, \(-2,\)"):
        VLM(plain.vision, plain.projector, plain.language, streams=DualCrossAttention(every=1, reader=TwoLayers(16, 16)))


def test_decoders_without_a_place_for_the_blocks_are_refused() -> None:
    model = tiny("granite", residual_multiplier=0.5)
    with pytest.raises(UnsupportedModelError, match="scales what its attention adds"):
        insert(model, DualCrossAttention(every=1, placement="after_self_attention"), 6)
    assert hooks_of(model) == 0
    model = tiny("cohere")
    with pytest.raises(UnsupportedModelError, match="have no post_attention_layernorm"):
        insert(model, DualCrossAttention(every=1, placement="after_self_attention"), 6)
    insert(model, DualCrossAttention(every=1), 6)
    model = tiny()

    def forward(hidden_states: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return hidden_states

    model.base_model.layers[0].forward = forward
    assert not passes_on(model.base_model.layers[0])
    with pytest.raises(UnsupportedModelError, match="does not hand arguments that it does not know on to its layers"):
        insert(model, DualCrossAttention(every=1), 6)
