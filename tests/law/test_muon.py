"""Muon: what it orthogonalises, what it leaves to AdamW, and that its state survives a checkpoint."""
import torch
from torch import nn

from mm.training.muon import Muon, MuonAdamW, hidden_matrices, orthogonalise
from mm.training.rates import Group


def model() -> nn.Module:
    torch.manual_seed(0)
    linear = {"up": nn.Linear(8, 24), "down": nn.Linear(24, 8), "twin": nn.Linear(24, 8), "head": nn.Linear(8, 11)}
    return nn.ModuleDict({"embed": nn.Embedding(11, 8), **linear})


def groups(net: nn.Module) -> list[Group]:
    names = [name for name, _ in net.named_parameters()]
    return [Group("*", 1e-2, True, tuple(n for n in names if "weight" in n)), Group("*", 1e-2, False, tuple(n for n in names if "bias" in n))]


def train(net: nn.Module, optimizer: MuonAdamW, steps: int, seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x = net["embed"](torch.randint(0, 11, (16,), generator=draws))  # type: ignore[index]
        x = net["up"](x).relu()  # type: ignore[index]
        net["head"](net["down"](x) + net["twin"](x)).logsumexp(-1).mean().backward()  # type: ignore[index]
        optimizer.step()
        optimizer.zero_grad()


def test_orthogonalising_brings_singular_values_near_one() -> None:
    for shape in ((3, 16, 48), (3, 48, 16)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape, generator=torch.Generator().manual_seed(1))))
        assert values.min() > 0.3
        assert values.max() < 1.3


def test_matrices_of_one_shape_equal_each_alone() -> None:
    x = torch.randn(4, 8, 24, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(orthogonalise(x), torch.cat([orthogonalise(one[None]) for one in x]), rtol=0, atol=2e-2)


def test_only_hidden_linear_weights_are_orthogonalised() -> None:
    net = model()
    assert set(hidden_matrices(net)) == {net["up"].weight, net["down"].weight, net["twin"].weight}  # type: ignore[index]


def test_other_parameters_move_as_under_adamw() -> None:
    one, two = model(), model()
    train(one, Muon().build(one, groups(one)), 1, seed=3)  # type: ignore[arg-type]
    plain = torch.optim.AdamW([{"params": [dict(two.named_parameters())[n] for n in g.names], **Muon().settings(g)} for g in groups(two)], fused=True)
    train(two, plain, 1, seed=3)  # type: ignore[arg-type]
    assert torch.equal(one["embed"].weight, two["embed"].weight)  # type: ignore[index]
    assert torch.equal(one["head"].bias, two["head"].bias)  # type: ignore[index]
    assert not torch.equal(one["up"].weight, two["up"].weight)  # type: ignore[index]


def test_a_restored_state_goes_on_bitwise() -> None:
    straight, broken = model(), model()
    train(straight, first := Muon().build(straight, groups(straight)), 3, seed=4)  # type: ignore[arg-type]
    train(broken, second := Muon().build(broken, groups(broken)), 3, seed=4)  # type: ignore[arg-type]
    fresh = model()
    fresh.load_state_dict(broken.state_dict())
    resumed = Muon().build(fresh, groups(fresh))
    resumed.load_state_dict(second.state_dict())
    train(straight, first, 2, seed=5)  # type: ignore[arg-type]
    train(fresh, resumed, 2, seed=5)  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), fresh.parameters(), strict=True))
