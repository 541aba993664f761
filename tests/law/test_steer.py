"""`steer` pulls levers on a model for a while, in training and generation, and leaves no trace."""
import pytest
import torch
from torch import nn

from mm.keep import All, Keep
from mm.language import seam
from mm.masks import Causal, Document, ImageBlock, Mask, Prefix
from mm.models.steer import steer
from mm.positions import Positions, Restart, Sequential
from mm.reweight import Rules
from tests.levers import Doubled
from tests.toys import batch, ids_for, row, tiny


class Levers(nn.Module):
    """As a VLM holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.mask: Mask = Causal()
        self.positions: Positions = Sequential()
        self.reweight = Rules((), 2, 4)
        self.keep: Keep = All()


def test_levers_of_a_vlm_are_swapped_and_restored() -> None:
    model = Levers()
    mask, positions = model.mask, model.positions
    with steer(model, mask=Prefix()) as steered:
        assert steered is model
        assert isinstance(model.mask, Prefix)
        assert model.positions is positions
        with steer(model, positions=Restart()):
            assert isinstance(model.positions, Restart)
            assert isinstance(model.mask, Prefix)
        assert model.positions is positions
    with pytest.raises(KeyError), steer(model, mask=Prefix()):
        raise KeyError
    assert model.mask is mask


def test_a_neutral_lever_on_a_plain_decoder_changes_no_bit_and_no_trace_stays() -> None:
    model, tokens = tiny(), row("qqqqq")
    ids = ids_for(tokens, seed=1)
    wanted = model(ids).logits, model.generate(ids, max_new_tokens=4, do_sample=False)
    with steer(model, mask=Causal(), positions=Sequential()):
        assert torch.equal(model(ids).logits, wanted[0])
        assert torch.equal(model.generate(ids, max_new_tokens=4, do_sample=False), wanted[1])
    assert model.config._attn_implementation == "sdpa"
    assert not model._forward_pre_hooks
    assert torch.equal(model(ids).logits, wanted[0])


@pytest.mark.parametrize("grad", [False, True])
def test_a_plain_decoder_reads_under_the_lever(grad: bool) -> None:
    model, tokens = tiny(), batch("siiq", "iiiq")
    ids = ids_for(tokens, seed=1)
    explicit = tiny()
    seam.install(explicit)
    wanted = explicit(input_ids=ids, attention_mask=ImageBlock().dense(tokens), position_ids=2 * tokens.depth).logits
    with torch.set_grad_enabled(grad), steer(model, mask=ImageBlock(), positions=Doubled(), tokens=tokens):
        found = model(input_ids=ids, attention_mask=tokens.is_real.long()).logits
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    assert found.requires_grad == grad


def test_generation_under_levers_is_one_forward_under_levers() -> None:
    model, tokens = tiny(), batch("siiq", "iq", left=True)
    ids = ids_for(tokens, seed=1)
    with steer(model, mask=Prefix(), positions=Doubled(), tokens=tokens):
        made = model.generate(ids, attention_mask=tokens.is_real.long(), max_new_tokens=4, do_sample=False, output_logits=True,
                              return_dict_in_generate=True)
    whole = tokens.extend(4)
    wanted = model(input_ids=made.sequences, attention_mask=Prefix().dense(whole), position_ids=2 * whole.depth).logits[:, -5:-1]
    torch.testing.assert_close(torch.stack(made.logits, 1), wanted, rtol=0, atol=1e-5)


def test_without_a_map_each_row_is_one_text() -> None:
    model = tiny()
    ids, real = torch.tensor([[0, 0, 5, 6, 7], [2, 3, 4, 5, 6]]), torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    with torch.no_grad(), steer(model, mask=Document(), positions=Sequential()):
        both, alone = model(input_ids=ids, attention_mask=real).logits, model(input_ids=ids[:1, 2:]).logits
    torch.testing.assert_close(both[:1, 2:], alone, rtol=0, atol=1e-5)


def test_what_has_no_levers_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot steer a Linear"), steer(nn.Linear(1, 1), mask=Causal()):
        pass
