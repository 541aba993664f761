"""Who reads what inside the language model: in packed, branched and padded rows each token reads as a dense mask says, and nothing else."""
import pytest
import torch
from torch import Tensor

from mm.streams import AllPrevious, DualCrossAttention, GatedCrossAttention, Immediate, OwnFrame, Scope, Seen, Shape, Sources, WholeMedium
from mm.streams.sources import standing
from mm.streams.stream import Branch
from mm.tokens import Kind, TokenMap
from tests.crossings import crossing, opened, rows_of
from tests.toys import batch, random_tokens

SHAPE = Shape(width=12, heads=4, key_heads=2, head_width=3, hidden=16, eps=1e-6)
EXACT = {"rtol": 0, "atol": 1e-12}
SIZES = (3, 5, 3, 4, 3)  # features of media, by their order


def media_of(tokens: TokenMap) -> list[tuple[int, int, int]]:
    """(row, document, media) of each medium in row order, by looking at one token after another."""
    found: list[tuple[int, int, int]] = []
    for row in range(tokens.shape[0]):
        for at in range(tokens.shape[1]):
            name = row, int(tokens.document[row, at]), int(tokens.media[row, at])
            if tokens.kind[row, at] == Kind.VISION and name not in found:
                found.append(name)
    return found


def sees(tokens: TokenMap, row: int, at: int, medium: tuple[int, int, int]) -> bool:
    """Whether a medium has begun before or at a token, on its own path."""
    for place in range(at + 1):
        if medium == (row, int(tokens.document[row, place]), int(tokens.media[row, place])) and tokens.kind[row, place] == Kind.VISION:
            same = int(tokens.document[row, at]) == medium[1]
            return same and int(tokens.branch[row, place]) in (0, int(tokens.branch[row, at]))
    return False


def masks(tokens: TokenMap, sizes: list[list[int]], seen: Seen, own_frame: bool) -> tuple[Tensor, Tensor]:
    """bool [T, P] of text reading media, and of visual tokens reading their own."""
    media = media_of(tokens)
    text, own = [], []
    for row in range(tokens.shape[0]):
        for at in range(tokens.shape[1]):
            kind, frame = int(tokens.kind[row, at]), int(tokens.frame[row, at])
            before = [m for m, medium in enumerate(media) if sees(tokens, row, at, medium)]
            if isinstance(seen, Immediate):
                before = before[-1:]
            mine = row, int(tokens.document[row, at]), int(tokens.media[row, at])
            text.append([kind == Kind.TEXT and m in before for m, pieces in enumerate(sizes) for _ in range(sum(pieces))])
            own.append([kind == Kind.VISION and media[m] == mine and (not own_frame or f == frame)
                        for m, pieces in enumerate(sizes) for f, size in enumerate(pieces) for _ in range(size)])
    return torch.tensor(text), torch.tensor(own)


def dense(branch: Branch, x: Tensor, features: Tensor, mask: Tensor) -> Tensor:
    return torch.tanh(branch.gate) * branch.attention(branch.norm(x)[None], features[None], mask[None, None])[0]


def sources(tokens: TokenMap) -> Sources:
    sizes = [[size] for size, _ in zip(SIZES * 9, media_of(tokens), strict=False)]
    generator = torch.Generator().manual_seed(0)
    return Sources(torch.randn(sum(map(sum, sizes)), 7, dtype=torch.float64, generator=generator).requires_grad_(), sizes, tokens)


ROWS = [*(random_tokens(seed) for seed in range(4)), batch("siijq", "q", "siiqa/iiq 1 qaja 2 qaq", left=True), batch("siijqa", "qaii", "ijq")]


@pytest.mark.parametrize("seen", [AllPrevious(), Immediate()], ids=["all", "immediate"])
@pytest.mark.parametrize("tokens", ROWS, ids=range(len(ROWS)))
def test_dual_blocks_read_as_dense_masks_say(tokens: TokenMap, seen: Seen) -> None:
    stream, given = DualCrossAttention(seen=seen), sources(tokens)
    block = stream.block(SHAPE, 7).double()
    opened(block)
    hidden = torch.randn(*tokens.shape, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    text, own = masks(tokens, [list(pieces) for pieces in given.pieces], seen, own_frame=False)
    x = hidden.flatten(0, 1)
    wanted = (x + dense(block.v2v, x, given.features, own) + dense(block.t2v, x, given.features, text)).view_as(hidden)
    found = block(hidden, crossing(stream, given), 0)
    torch.testing.assert_close(found, wanted, **EXACT)
    padding = ~tokens.is_real
    assert torch.equal(found[padding], hidden[padding])
    leaves = [hidden, given.features, *block.parameters()]
    weights = torch.randn(*hidden.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for one, other in zip(torch.autograd.grad((found * weights).sum(), leaves), torch.autograd.grad((wanted * weights).sum(), leaves), strict=True):
        torch.testing.assert_close(one, other, **EXACT)


@pytest.mark.parametrize("tokens", ROWS, ids=range(len(ROWS)))
def test_gated_blocks_read_the_last_medium_before_each_token(tokens: TokenMap) -> None:
    stream, given = GatedCrossAttention(heads=2, head_width=4), sources(tokens)
    block = stream.block(SHAPE, 7).double()
    opened(block)
    hidden = torch.randn(*tokens.shape, 12, dtype=torch.float64)
    media, mask = media_of(tokens), []
    for row in range(tokens.shape[0]):
        for at in range(tokens.shape[1]):
            before = [m for m, medium in enumerate(media) if tokens.is_real[row, at] and sees(tokens, row, at, medium)][-1:]
            mask.append([m in before for m, pieces in enumerate(given.pieces) for _ in range(sum(pieces))])
    x = hidden.flatten(0, 1)
    wanted = x + dense(block.read, x, given.features, torch.tensor(mask))
    wanted = wanted + torch.tanh(block.feed_gate) * block.feed(wanted)
    torch.testing.assert_close(block(hidden, crossing(stream, given), 0), wanted.view_as(hidden), **EXACT)


def clips(scope: Scope) -> tuple[DualCrossAttention, Sources, TokenMap]:
    """Two rows: a clip of three frames and one of two, with text around; one of two frames, two tokens a frame."""
    media = torch.tensor([[-1, 0, 0, 0, -1, 1, 1, -1], [0, 0, 0, 0, -1, -1, -1, -1]])
    frame = torch.tensor([[0, 0, 1, 2, 0, 0, 1, 0], [0, 0, 1, 1, 0, 0, 0, 0]])
    tokens = rows_of(media, frame)
    pieces = [[4, 4, 4], [4, 4], [4, 4]]
    return DualCrossAttention(scope=scope), Sources(torch.randn(28, 7, dtype=torch.float64), pieces, tokens), tokens


@pytest.mark.parametrize("scope", [WholeMedium(), OwnFrame()], ids=["medium", "frame"])
def test_a_visual_token_reads_its_scope(scope: Scope) -> None:
    stream, given, tokens = clips(scope)
    block = stream.block(SHAPE, 7).double()
    opened(block)
    text, own = masks(tokens, [list(pieces) for pieces in given.pieces], AllPrevious(), isinstance(scope, OwnFrame))
    x = torch.randn(16, 12, dtype=torch.float64)
    wanted = x + dense(block.v2v, x, given.features, own) + dense(block.t2v, x, given.features, text)
    torch.testing.assert_close(block(x.view(2, 8, 12), crossing(stream, given), 0).flatten(0, 1), wanted, **EXACT)


def test_tokens_without_a_frame_cannot_read_one() -> None:
    stream, _, tokens = clips(OwnFrame())
    given = Sources(torch.zeros(9, 7), [[3], [3], [3]], tokens)
    with pytest.raises(ValueError, match=r"medium 0 lies in frame 1, and what the blocks read of it has 1 frame\(s\); use WholeMedium"):
        crossing(stream, given)


def test_media_stand_where_their_first_token_stands() -> None:
    tokens = batch("siijq/iijj", "iq 1 jq 2 q")
    found = standing(tokens)
    assert found.row.tolist() == [0, 0, 0, 0, 1, 1]
    assert found.document.tolist() == [0, 0, 1, 1, 0, 0]
    assert found.branch.tolist() == [0, 0, 0, 0, 0, 1]
    assert found.start.tolist() == [1, 3, 5, 7, 0, 2]
    assert found.medium[0].tolist() == [-1, 0, 0, 1, -1, 2, 2, 3, 3]


def test_features_that_do_not_belong_to_the_rows_are_refused() -> None:
    tokens = batch("siijq")
    with pytest.raises(ValueError, match="the rows hold visual tokens of 2 media, and features of 1 came with them"):
        Sources(torch.zeros(4, 7), [[4]], tokens)
    with pytest.raises(ValueError, match="frames have 6 features in all, and 4 were given"):
        Sources(torch.zeros(4, 7), [[3], [3]], tokens)


def test_a_stream_says_which_layers_it_stands_at() -> None:
    assert DualCrossAttention(every=4).layers(28) == [3, 7, 11, 15, 19, 23, 27]
    assert DualCrossAttention(every=1).layers(3) == [0, 1, 2]
    with pytest.raises(ValueError, match="every 4 layers is never in a model of 3; set every to 3 or less"):
        DualCrossAttention().layers(3)
    with pytest.raises(ValueError, match="at least 1; got 0"):
        DualCrossAttention(every=0)
    with pytest.raises(ValueError, match="placement is one of before_layer, after_self_attention, after_layer; got 'after'"):
        DualCrossAttention(placement="after")


def test_a_branch_that_rests_is_not_computed() -> None:
    stream, given, _ = clips(WholeMedium())
    block = stream.block(SHAPE, 7).double().train()
    opened(block)
    hidden = torch.randn(2, 8, 12, dtype=torch.float64)
    with torch.no_grad():
        block.t2v.gate.fill_(0.0)
    wanted = block(hidden, crossing(stream, given), 0)
    for parameter in block.t2v.parameters():
        parameter.requires_grad_(False)
    block.t2v.attention.key.weight.fill_(torch.nan)  # would be seen, were it read
    assert torch.equal(block(hidden, crossing(stream, given), 0), wanted)
