"""Rows of their own for a prompt's nouns: the same as training the whole table, at the cost of a few rows."""
import pytest
import torch
from torch import Tensor, nn

from mm.diffusion.dynamic.tokens import DynamicTokens, table

IDS = [48, 3, 17, 5, 21, 22, 17, 49]  # <start> a cat and fire fly cat <end>
NOUNS = [[2, 6], [4, 5]]  # cat, twice; firefly


def encoder(seed: int = 0) -> nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModel
    torch.manual_seed(seed)
    config = CLIPTextConfig(vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
                            max_position_embeddings=12, bos_token_id=48, eos_token_id=49, pad_token_id=49)
    return CLIPTextModel(config).eval().requires_grad_(False)


def padded(ids: list[int], length: int = 12) -> Tensor:
    return torch.tensor([ids + [49] * (length - len(ids))])


def loss(model: nn.Module) -> Tensor:
    return (model(padded(IDS))[0] - torch.linspace(-1, 1, 16)).square().mean()


def test_new_rows_change_nothing_to_the_bit() -> None:
    model = encoder()
    plain = model(padded(IDS))
    with DynamicTokens(model, IDS, NOUNS).inserted(model):
        found = model(padded(IDS))
    assert torch.equal(found[0], plain[0])
    assert torch.equal(found.pooler_output, plain.pooler_output)


def test_training_the_rows_is_training_the_whole_table() -> None:
    """The original's way: AdamW on the table, all other rows put back after each update; anew at each of three timesteps."""
    mine, whole = encoder(), encoder()
    tokens = DynamicTokens(mine, IDS, NOUNS)
    assert tokens.rows.shape == (3, 16)
    weight = table(whole).weight.requires_grad_()
    frozen, others = weight.detach().clone(), torch.tensor([row not in (17, 21, 22) for row in range(50)])
    for _ in range(3):
        few, many = torch.optim.AdamW(tokens.parameters(), lr=1e-3, weight_decay=1e-2), torch.optim.AdamW([weight], lr=1e-3, weight_decay=1e-2)
        for _ in range(4):
            few.zero_grad()
            many.zero_grad()
            with tokens.inserted(mine):
                loss(mine).backward()
            loss(whole).backward()
            few.step()
            many.step()
            with torch.no_grad():
                weight[others] = frozen[others]
    torch.testing.assert_close(tokens.rows.detach(), weight.detach()[[17, 21, 22]], rtol=0, atol=1e-6)
    assert (tokens.rows - frozen[[17, 21, 22]]).abs().max() > 5e-3


def test_nothing_but_the_prompt_is_touched_and_nothing_stays() -> None:
    model = encoder()
    other = [48, 3, 17, 5, 49]
    plain = model(torch.cat([padded(other), padded(IDS)]))[0]
    tokens = DynamicTokens(model, IDS, NOUNS)
    nn.init.zeros_(tokens.rows)
    with tokens.inserted(model):
        found = model(torch.cat([padded(other), padded(IDS)]))[0]
        short = model(torch.tensor([other]))[0]
    assert torch.equal(found[0], plain[0])
    assert not torch.equal(found[1], plain[1])
    torch.testing.assert_close(short, plain[:1, :5])
    assert torch.equal(model(padded(IDS))[0], plain[1:])
    assert not table(model)._forward_hooks


def test_rows_stand_in_another_prompt_where_its_nouns_stand() -> None:
    model = encoder()
    tokens = DynamicTokens(model, IDS, NOUNS)
    with torch.no_grad():
        tokens.rows += 1
    edited = [48, 3, 30, 5, 21, 22, 49]  # the cat has gone
    plain = model(padded(edited))[0]
    with tokens.inserted(model):
        assert torch.equal(model(padded(edited))[0], plain)
    tokens.read_in(edited, [(), (4, 5)])
    with tokens.inserted(model):
        found = model(padded(edited))[0]
    assert torch.equal(found[:, :4], plain[:, :4])
    assert not torch.isclose(found[:, 4:7], plain[:, 4:7]).all()


def test_equal_tokens_of_different_nouns_have_a_row_each() -> None:
    assert DynamicTokens(encoder(), IDS, [[2], [6]]).rows.shape == (2, 16)


def test_a_half_precision_encoder_trains_rows_in_float32() -> None:
    model = encoder().half()
    tokens = DynamicTokens(model, IDS, NOUNS)
    assert tokens.rows.dtype == torch.float32
    with tokens.inserted(model):
        assert model(padded(IDS))[0].dtype == torch.float16


@pytest.mark.parametrize(("nouns", "message"), [([], "name at least one"), ([[2], []], "one token of each"), ([[2], [8]], "places within it"),
                                                ([[2], [2]], "no other noun")], ids=["none", "empty", "beyond", "shared"])
def test_bad_places_are_named(nouns: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DynamicTokens(encoder(), IDS, nouns)


def test_a_noun_that_is_spelt_otherwise_is_refused() -> None:
    with pytest.raises(ValueError, match="spelt alike"):
        DynamicTokens(encoder(), IDS, NOUNS).read_in([48, 30, 49], [(1,), ()])
