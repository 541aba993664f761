"""No form of a rule holds rows by keys."""
import pytest

from mm.attention import Call, found_groups, reweigh
from mm.reweight import ACT
from tests.allocation import Largest
from tests.reweighting import RULES, active, inputs_for
from tests.toys import row


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("rules", ["var", "act", "zerotuning", "a span", "three that move mass", "dara", "pai", "one of each kind"])
def test_no_form_allocates_rows_by_keys(rules: str, learns: bool) -> None:
    length = 1536
    tokens = row("s" * 20 + "i" * 256 + "q" * (length - 276))
    inputs = tuple(x.float().requires_grad_(learns) for x in inputs_for(tokens, heads=4, key_heads=2))
    actives = [active(rule, tokens) for rule in RULES[rules](tokens)]
    with Largest() as largest:
        out = reweigh(*inputs, actives, None, True, None, tokens, 0)
        if learns:
            out.sum().backward()
    assert 0 < largest.elements < length * length / 2


def test_finding_groups_streams_the_columns() -> None:
    length = 1536
    tokens = row("q" * length)
    call = Call(*(x.float() for x in inputs_for(tokens)), None, True, None, tokens, 0)
    with Largest() as largest:
        found_groups(ACT(threshold=1e-4, heads=[(2, 0)]), call, 2)
    assert 0 < largest.elements < length * length / 2
