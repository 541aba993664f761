"""What each rule says about itself: where it acts, which keys it groups, what it refuses, and that it can be written down."""
import pytest
import torch
from torch import Tensor

from mm.attention import Call, found_groups, reweighted
from mm.parts import build, describe
from mm.reweight import ACT, CMAI, DARA, DMA, MODA, PAI, PAINT, SINK_CHANNELS, VAR, Rule, ZeroTuning, find_sink_channels, token_sets
from mm.reweight.base import answering
from mm.tokens import TokenMap
from tests.toys import batch, random_qkv, row


def letters(tokens: TokenMap, chosen: Tensor, text: str) -> str:
    """The letters of a prompt that are chosen, others as dashes."""
    return "".join(letter if keep else "-" for letter, keep in zip(text, chosen[0].tolist(), strict=True))


@pytest.mark.parametrize(("text", "rows"), [
    ("ssiiqqq", "------q"),
    ("ssiiqqqaa", "------qaa"),
    ("ssiiqqq..", "------q--"),
    ("..ssiiqqq", "--------q"),
    ("iiqqaaqqaa", "---qaa-qaa"),
    ("iiqaii", "--qa--"),
])
def test_the_rows_that_predict_an_answer(text: str, rows: str) -> None:
    assert letters(row(text), answering(row(text)), text) == rows


def test_the_rows_that_predict_an_answer_in_packed_and_branched_rows() -> None:
    assert answering(row("sq/iqa"))[0].tolist() == [False, True, False, True, True]
    assert answering(row("iq 1qa 2qq"))[0].tolist() == [False, False, True, True, False, True]


def test_a_rule_acts_from_its_first_to_its_last_layer() -> None:
    rule = PAI(first_layer=2, last_layer=-2)
    rule.bind(layers=6, heads=4)
    assert [layer for layer in range(6) if rule.applies(layer)] == [2, 3, 4]
    assert [layer for layer in range(8) if PAI(first_layer=1, last_layer=3).applies(layer)] == [1, 2, 3]


@pytest.mark.parametrize(("rule", "message"), [
    (PAI(first_layer=9), "PAI: first_layer is 9, and the model has layers 0 to 5"),
    (VAR(last_layer=-7), "VAR: last_layer is -7, and the model has layers 0 to 5"),
    (CMAI(first_layer=4, last_layer=3), "CMAI: from layer 4 to 3 of 6 there is none"),
    (ACT(heads=[(5, 4)]), "ACT: head 4 of layer 5 does not exist; the model has layers 0 to 5 with heads 0 to 3"),
    (ZeroTuning(2.0, heads=[(6, 0)]), "ZeroTuning: head 0 of layer 6 does not exist"),
    (DARA(layers=(0, 6)), "DARA: layer 6 does not exist; the model has layers 0 to 5"),
    (DARA(heads=8), "DARA: it was made for 8 heads, and the model has 4"),
])
def test_layers_and_heads_that_the_model_lacks_are_named(rule: Rule, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rule.bind(layers=6, heads=4)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: VAR(sink_keep=1.2), r"sink_keep is a share of mass, so in \[0, 1\]; got 1.2"),
    (lambda: VAR(max_sink_share=1.0), "max_sink_share"),
    (lambda: VAR(min_image_mass=0.0), "min_image_mass"),
    (lambda: ACT(sink_keep=-0.1), "sink_keep is a share"),
    (lambda: ACT(threshold=0.0), "threshold is a mean weight"),
    (lambda: ZeroTuning(0.0), "gamma multiplies weights, so it is above 0; got 0.0. To hide tokens, use a mask"),
    (lambda: ZeroTuning(2.0, span=(3, 3)), "span is"),
    (lambda: PAI(-0.1), "alpha is a share"),
    (lambda: PAINT(local=-1.0), "local and summary are shares"),
    (lambda: CMAI(quantile=1.0), "quantile is the share"),
    (lambda: CMAI(keep=2.0), "keep is a factor"),
    (lambda: DARA(images=0), "at least one image"),
])
def test_parameters_out_of_range_are_named(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def states(tokens: TokenMap, sinks: dict[int, list[tuple[int, int]]]) -> Tensor:
    """Hidden states that are massive in the channels given for each row and token."""
    hidden = torch.randn(*tokens.shape, 1024, generator=torch.Generator().manual_seed(0))
    for index, places in sinks.items():
        for token, channel in places:
            hidden[index, token, channel] = -900.0
    return hidden


def test_var_finds_text_and_visual_sinks_and_never_padding() -> None:
    tokens = batch("ss iiii qqq", "s iiiiii qq", left=True)
    hidden = states(tokens, {0: [(0, 7), (4, 7), (6, 9)], 1: [(0, 7), (3, 9), (8, 11)]})
    groups = VAR((7, 9)).groups(tokens, 2, hidden)
    assert groups is not None
    assert groups.tolist() == [[1, 0, 3, 3, 2, 3, 1, 0, 0], [1, 3, 3, 2, 3, 3, 3, 0, 0]]
    padded = batch("iiii qq", "s iiiiii qqq", left=True)
    groups = VAR((7,)).groups(padded, 2, states(padded, {0: [(0, 7), (5, 7)]}))
    assert groups is not None
    assert groups[0].tolist() == [0, 0, 0, 0, 3, 2, 3, 3, 0, 0]


def test_var_without_channels_takes_those_of_the_first_token_of_each_document() -> None:
    tokens = row("ss iiii q / s iii qq")
    hidden = states(tokens, {0: [(0, 7), (4, 7), (5, 9), (7, 9), (9, 9), (10, 7)]})
    groups = VAR().groups(tokens, 2, hidden)
    assert groups is not None
    assert groups[0].tolist() == [1, 0, 3, 3, 2, 3, 0, 1, 3, 2, 3, 0, 0]


def test_sink_channels_are_those_of_the_first_real_token() -> None:
    tokens = batch("ss iiii qqq", "s ii q", left=True)
    hidden = states(tokens, {0: [(0, 31), (0, 7), (3, 500)], 1: [(5, 31), (5, 7)]})
    hidden[:, :, 31] *= 2
    assert find_sink_channels([hidden, hidden[:1]], [tokens.is_real, tokens.is_real[:1]], threshold=10.0) == (31, 7)
    assert find_sink_channels([hidden[:1]], threshold=10.0) == (31, 7)
    assert find_sink_channels([torch.randn(1, 5, 1024)]) == ()
    rule = VAR((), threshold=1e-3)
    assert not rule.acts_on(rule.groups(tokens, 2, hidden)), "a model without such channels has no sinks"
    with pytest.raises(ValueError, match="at least one prompt"):
        find_sink_channels([])


def test_half_precision_states_do_not_overflow_and_overflowed_ones_are_an_error() -> None:
    tokens = row("ss iiii qqq")
    hidden = states(tokens, {0: [(0, 7), (4, 7)]}).half()
    hidden[0, 0, 7] = 6e4
    groups = VAR((7,)).groups(tokens, 2, hidden)
    assert groups is not None
    assert groups[0].tolist() == [1, 0, 3, 3, 2, 3, 0, 0, 0]
    hidden[0, 3, 7] = torch.inf
    with pytest.raises(ValueError, match="hidden state of token 3 in row 0 is not finite: the model has overflowed; run it in bfloat16"):
        VAR((7,)).groups(tokens, 2, hidden)


def test_what_a_rule_needs_and_was_not_given_is_named() -> None:
    tokens = row("ss iiii qqq")
    q, k, v = random_qkv(queries=9, keys=9, batch=1)
    with pytest.raises(ValueError, match="VAR finds sinks in the hidden states"):
        reweighted(q, k, v, [VAR()], tokens)
    with pytest.raises(ValueError, match="PAINT was given no token sets"):
        reweighted(q, k, v, [PAINT()], tokens)
    with pytest.raises(ValueError, match=r"sets are for 1 rows of 3 vision tokens, and the prompt has \[4\]"):
        reweighted(q, k, v, [PAINT().on(torch.zeros(1, 3, dtype=torch.long))], tokens)
    with pytest.raises(ValueError, match="sink channel 5120 does not exist in hidden states 64 wide"):
        reweighted(q, k, v, [VAR((3, 5120))], tokens, hidden=torch.randn(1, 9, 64))
    with pytest.raises(ValueError, match="does not know how many heads"):
        DARA().scales(0)
    with pytest.raises(ValueError, match="factors for 1 images, and a prompt has 2"):
        reweighted(q, k, v, [DARA(images=1, heads=4, layers=(2,))], row("ii jj qqqqq"))


def test_act_protects_the_first_token_of_each_document_and_looks_in_its_heads_only() -> None:
    tokens = row("qqqq/qqq")
    columns = torch.tensor([[[0.9, 0.05, 0.3, 0.02, 0.8, 0.2, 0.01]] * 3])
    columns[:, 1] = 0.0
    groups = ACT().groups(tokens, 2, columns=columns)
    assert groups is not None
    assert groups[0].tolist() == [[0, 0, 1, 0, 0, 1, 0], [0] * 7, [0, 0, 1, 0, 0, 1, 0]]
    assert ACT().groups(tokens, 2, columns=columns / 10) is None
    call = Call(*random_qkv(batch=1), None, True, None, row("qqqqqqq"), 0)
    found = found_groups(ACT(threshold=1e-3, heads=[(2, 1)]), call, 2)
    assert found is not None
    assert found.any(-1)[0].tolist() == [False, True, False, False]


def test_paint_gives_each_picture_its_own_sets() -> None:
    tokens = batch("ss iiii q", "iii qq", left=True)
    sets = torch.tensor([[1, 0, 2, 0], [2, 1, 0, 0]])
    rule = PAINT()
    assert rule.on(sets).groups(tokens, 2).tolist() == [[0, 0, 1, 0, 2, 0, 0], [0, 0, 2, 1, 0, 0, 0]]
    with pytest.raises(ValueError, match="was given no token sets"):
        rule.groups(tokens, 2)  # the rule itself remembers no picture


def test_summary_tokens_are_outliers_and_local_ones_the_rest_of_what_the_class_token_sees() -> None:
    first, last = torch.zeros(1, 2, 9, 9), torch.zeros(1, 2, 9, 9)
    first[0, :, 0, 1:] = torch.tensor([0.1, 0.9, 0.2, 0.3, 0.8, 0.1, 0.0, 0.1])
    last[0, :, 0, 1:] = torch.tensor([0.1, 0.11, 0.1, 0.12, 0.9, 0.1, 0.11, 0.1])
    assert token_sets(first, last).tolist() == [[0, 1, 0, 0, 2, 0, 0, 0]]


def test_cmai_hides_the_image_tokens_on_which_the_words_of_the_question_do_not_agree() -> None:
    """Three text rows that look at each other and at image tokens 1 and 2 keep these; a third one of their own is inhibited."""
    text = "iiii qqq"
    tokens = row(text)
    weights = torch.full((7, 7), 1e-6)
    weights[4, [1, 2, 4]] = torch.tensor([0.4, 0.4, 0.2])
    weights[5, [1, 2, 4, 5]] = torch.tensor([0.3, 0.3, 0.2, 0.2])
    weights[6, [0, 1, 4, 5, 6]] = torch.tensor([0.3, 0.1, 0.3, 0.3, 1e-3])
    keys = torch.eye(7).expand(1, 1, -1, -1)
    q = weights.log().expand(1, 1, -1, -1)
    found = reweighted(q, keys, keys, [CMAI(quantile=0.5)], tokens, scale=1.0)[0, 0]
    assert (found[4:, [1, 2]] > 0).all()
    assert (found[4:, [0, 3]] == 0).all()
    weaker = reweighted(q, keys, keys, [CMAI(quantile=0.5, keep=0.5)], tokens, scale=1.0)[0, 0]
    plain = reweighted(q, keys, keys, [], tokens, scale=1.0)[0, 0]
    torch.testing.assert_close(weaker[6, 0] / weaker[6, 4], plain[6, 0] / plain[6, 4] / 2)


def test_dara_begins_as_the_plain_model_and_learns() -> None:
    tokens = row("ii q jj qq")
    q, k, v = random_qkv(batch=1)
    rule = DARA(images=3, layers=(0, 2))
    rule.bind(layers=4, heads=4)
    rule.double()
    assert rule.factor is not None
    plain = reweighted(q, k, v, [], tokens)
    torch.testing.assert_close(reweighted(q, k, v, [rule], tokens), plain, rtol=0, atol=1e-12)
    reweighted(q, k, v, [rule], tokens)[:, 1].sum().backward()
    grad = rule.factor.grad
    assert grad is not None
    assert (grad[1, 1, :2] != 0).all()  # the layer, head and images that were asked
    assert grad[1, 1, :2].abs().sum() == grad.abs().sum()


WRITTEN = [VAR.paper(SINK_CHANNELS["llama-2-7b"]), VAR.released(), ACT(heads=[(2, 1)]), ZeroTuning(0.5, span=(0, 3)), DARA(images=2, heads=4), PAI(),
           PAINT(), CMAI(), MODA(first_layer=2), DMA(64, block=8)]


@pytest.mark.parametrize("rule", WRITTEN, ids=lambda rule: type(rule).__name__)
def test_a_rule_can_be_written_down_and_built_again(rule: Rule) -> None:
    description = describe(rule)
    assert description["class_path"] == f"mm.reweight.{type(rule).__name__}"
    assert describe(build(description)) == description
