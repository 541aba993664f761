"""Positions: documents and branches count as if they stood alone."""
import torch

from mm.positions import Positions, Restart, Sequential
from tests.toys import batch, random_tokens, row


def ids(positions: Positions, text: str) -> list[int]:
    return positions.assign(row(text))[0].tolist()


def test_sequential_counts_each_document() -> None:
    assert ids(Sequential(), "siq/qa.") == [0, 1, 2, 0, 1, 0]
    assert ids(Sequential(), "si 1 qa 2 q") == [0, 1, 2, 3, 4]


def test_restart_goes_on_behind_the_trunk_for_each_branch() -> None:
    """Positions that run on instead are the classic mistake of shared prefixes."""
    assert ids(Restart(), "si 1 qa 2 qqa / i 1 q 2 q / qa") == [0, 1, 2, 3, 2, 3, 4, 0, 1, 1, 0, 1]


def test_restart_gives_a_branch_the_positions_it_has_alone() -> None:
    for seed in range(20):
        tokens = random_tokens(seed)
        found = Restart().assign(tokens)
        for b in range(tokens.shape[0]):
            for document in range(int(tokens.document[b].max()) + 1):
                mine = tokens.document[b] == document
                for branch in range(int(tokens.branch[b][mine].max()) + 1):
                    path = mine & ((tokens.branch[b] == 0) | (tokens.branch[b] == branch))
                    assert found[b][path].tolist() == list(range(int(path.sum())))


def test_without_branches_both_are_the_same() -> None:
    tokens = batch("siqa/qa", "iqa", left=True)
    assert torch.equal(Sequential().assign(tokens), Restart().assign(tokens))
    assert Sequential().assign(tokens)[1].tolist() == [0, 0, 0, 0, 1, 2]


def test_decoded_tokens_follow_the_last_one() -> None:
    tokens = batch("si 1 q", "i 1 q", left=True)
    assert Restart().following(tokens, 2).tolist() == [[3, 4], [2, 3]]
    assert Sequential().following(tokens).tolist() == [[3], [2]]
    assert Restart().following(row("si 1 qaa 2 q")).tolist() == [[3]]
    extended = tokens.extend(2)
    assert extended.index[0].tolist() == [0, 1, 2, 3, 4]
    assert extended.is_real[:, -2:].all()
    assert not extended.is_vision[:, -2:].any()
