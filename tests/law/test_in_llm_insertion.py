"""A stream is put in, saved, loaded, copied and taken out again to the bit; where it cannot stand it is refused."""
import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mm.language import insert
from mm.language.last import passes_on
from mm.language.seam import UnsupportedModelError
from mm.models import VLM
from mm.streams import DualCrossAttention, GatedCrossAttention, Sources, Stream
from tests.crossings import opened, rows_of, streamed
from tests.toys import tiny
from tests.watching import SAMPLES, each_family, each_stream, hidden


def hooks_of(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_blocks_within_compiled_layers_are_refused() -> None:
    vlm = streamed(DualCrossAttention(every=1, placement="after_self_attention"))
    for block in vlm.language.model.base_model.layers:
        block.compile(backend="aot_eager")
    with pytest.raises(UnsupportedModelError, match="cannot hold blocks between their self-attention and their MLP; place the blocks after_layer"):
        hidden(vlm, SAMPLES[1])


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
