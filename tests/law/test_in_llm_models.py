"""What a model with a stream computes: at first what it computed without, a row the same alone and in company, and only media that stand before."""
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import mm
from mm.language import insert
from mm.masks import ImageBlock
from mm.models import VLM, Branches
from mm.models.processor import pack
from mm.positions import Restart
from mm.reweight import ZeroTuning
from mm.sample import Sample, Turn
from mm.streams import DualCrossAttention, GatedCrossAttention, Marker, Sources, Stream
from mm.streams.base import ClipProjector, Grid
from tests.crossings import opened, rows_of, streamed
from tests.projectors import TwoLayers
from tests.toys import tiny
from tests.vlms import picture, toy
from tests.watching import CLOSE, SAMPLES, each_family, each_stream, hidden


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
            steered, blind = model(ids, mm_sources=sources).logits, model(ids).logits
        assert torch.equal(model(ids, mm_sources=sources).logits, plain)
    assert not torch.equal(steered, plain)
    assert (steered - blind).abs().amax(-1)[:, 1:].min() > 1e-3
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


def test_blocks_read_the_encoder_s_own_features_whatever_the_projector_reads() -> None:
    wide = toy(projector=TwoLayers, depth=2)
    vlm = VLM(wide.vision, wide.projector, wide.language, streams=DualCrossAttention(every=1)).eval()
    batch = vlm.processor.collate([vlm.processor.encode(SAMPLES[1])])
    with torch.no_grad():
        assert torch.equal(vlm.read(batch)[1].features, vlm.vision(batch.pixels).flatten(0, 1))
    plain = toy()
    with pytest.raises(ValueError, match=r"its reader TwoLayers wants further layers of the encoder, \(-2,\)"):
        VLM(plain.vision, plain.projector, plain.language, streams=DualCrossAttention(every=1, reader=TwoLayers(16, 16)))
