"""What a recorder watches on the seam are the weights of an eager model, and sums of them."""
import pytest
import torch

from mm.attention import Plan, Recorder
from mm.masks import Causal, Mask, Prefix
from mm.positions import Restart
from tests.seams import decode, seamed
from tests.toys import batch, ids_for, tiny


@pytest.mark.parametrize("mask", [Causal(), Prefix()], ids=repr)
def test_recorded_rows_are_the_weights_of_an_eager_model(mask: Mask) -> None:
    eager, model = tiny(implementation="eager"), seamed()
    tokens = batch("siiiqa", "iiq", left=True)
    ids, recorder = ids_for(tokens), Recorder()
    made = decode(model, Plan(mask, tokens, recorder), ids, tokens.is_real)
    whole = tokens.extend(5)
    visible = mask.dense(whole)
    bias = torch.zeros(visible.shape).masked_fill(~visible, -torch.inf)
    with torch.no_grad():
        wanted = eager(input_ids=made, attention_mask=bias, position_ids=Restart().assign(whole), output_attentions=True).attentions
    assert len(recorder.steps) == 5
    for t, step in enumerate(recorder.steps):
        for layer in (0, 1):
            last = tokens.shape[1] - 1 + t
            torch.testing.assert_close(step[layer], wanted[layer][:, :, last:last + 1, :last + 1], rtol=0, atol=1e-5)


def test_recorded_masses_are_sums_of_recorded_weights() -> None:
    model, tokens = seamed(), batch("siiiqa", "iiq", left=True)
    ids, groups = ids_for(tokens), tokens.is_vision.long() + tokens.is_real.long()
    weights = Recorder(layers=[1])
    masses = Recorder(layers=[1], groups=groups, group_count=4, decoded_group=3)
    rows = Recorder(rows=torch.tensor([4, 5]))
    for recorder in (weights, masses, rows):
        decode(model, Plan(Prefix(), tokens, recorder), ids, tokens.is_real)
    for t, (w, m) in enumerate(zip(weights.steps, masses.steps, strict=True)):
        assert m[1].shape == (2, 4, 1, 4)
        assert list(w) == [1]
        torch.testing.assert_close(m[1][..., 3], w[1][..., 6:].sum(-1))
        torch.testing.assert_close(m[1][0, :, :, 2], w[1][0, :, :, 1:4].sum(-1))
        assert w[1].shape[-1] == 6 + t
    torch.testing.assert_close(rows.steps[0][1][:, :, 1:], weights.steps[0][1])
    with pytest.raises(ValueError, match="rows reach to 9"):
        decode(model, Plan(Prefix(), tokens, Recorder(rows=torch.tensor([9]))), ids, tokens.is_real)
