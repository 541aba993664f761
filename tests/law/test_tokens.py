"""Token maps count along paths, keep the count in every slice, and go on behind the prompt."""
import pytest
import torch

from mm.tokens import Role, TokenMap
from tests.levers import POSITIONS
from tests.toys import batch, random_tokens, row


def test_text_follows_vision_on_its_own_path_only() -> None:
    assert row("s ii q").follows_vision[0].int().tolist() == [0, 0, 0, 1]
    assert row("q ii a / qa / .").follows_vision[0].int().tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert row("s 1 ii q 2 qa").follows_vision[0].int().tolist() == [0, 0, 0, 1, 0, 0]
    assert row("ii 1 q 2 q").follows_vision[0].int().tolist() == [0, 0, 1, 1]


def test_counts_are_those_of_a_walk_along_each_path() -> None:
    for seed in range(20):
        tokens = random_tokens(seed)
        for b in range(tokens.shape[0]):
            for n in range(tokens.shape[1]):
                here = tokens[b, n]
                path = (tokens.document[b] == here.document) & tokens.is_real[b] & ((tokens.branch[b] == 0) | (tokens.branch[b] == here.branch))
                path[n + 1:] = False
                assert here.depth == max(int(path.sum()) - 1, 0)
                assert here.answered == int((tokens.role[b, path] == Role.ANSWER).sum())
                assert here.shown == int(tokens.is_vision[b, path].sum())


def test_a_slice_remembers_what_came_before_it() -> None:
    tokens = random_tokens(2)
    assert torch.equal(tokens[:, 5:].depth, tokens.depth[:, 5:])
    assert torch.equal(tokens[:, 5:].follows_vision, tokens.follows_vision[:, 5:])


@pytest.mark.parametrize("text", ["siiq", "ss ii 1 qa 2 q", "qa/iiq", "qii"])
def test_an_extended_map_is_the_map_of_the_longer_row(text: str) -> None:
    found, wanted = row(text).extend(2), row(text + "aa")
    for name in ("kind", "document", "branch", "media", "row", "role", "index", "depth", "answered", "shown"):
        assert torch.equal(getattr(found, name), getattr(wanted, name)), name


@pytest.mark.parametrize("positions", POSITIONS, ids=repr)
@pytest.mark.parametrize("texts", [("siiq", "q"), ("s ii 1 qa 2 q", "iiiiqqq"), ("qiiii", "iqjj")])
def test_decoded_tokens_stand_where_the_positions_put_them(texts: tuple[str, ...], positions: object) -> None:
    """Also behind a prompt that ends in an image, whose last token need not be its furthest."""
    tokens = batch(*texts, left=True)
    placed = tokens.at(positions.assign(tokens))
    assert torch.equal(placed.extend(3).position[:, -3:], positions.following(tokens, 3))
    assert torch.equal(placed.extend(1).extend(2).position, placed.extend(3).position)


def test_positions_of_another_map_are_refused() -> None:
    with pytest.raises(ValueError, match=r"positions of shape \(1, 3\) for tokens of shape \(1, 4\)"):
        row("siiq").at(torch.zeros(1, 3, dtype=torch.long))


def test_stacked_rows_count_as_they_did_alone() -> None:
    alone = row("s ii 1 qa 2 q")
    stacked = TokenMap.stack([alone, row("q")], 9, left=True)
    assert torch.equal(stacked.depth[:1, 3:], alone.depth)
    assert stacked.depth[:, 0].tolist() == stacked.shown[:, 0].tolist() == [0, 0]
