"""Searches find the heads that matter, go on where they stopped, say what they did, and leave the model as it was."""
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mm
from mm.analysis import Accuracy, Certainty, HeadProfile, lever, search_gamma, search_heads
from mm.language.anatomy import decoder_layers, text_decoder
from mm.levers import read_lever
from mm.models import Prompts, Samples
from mm.parts import build, describe
from mm.reweight import ACT, PAI, Rule, ZeroTuning
from tests.families import FAMILIES
from tests.vlms import about, toy


@dataclass
class Planted:
    """An objective that rewards a rule in some heads and punishes it in all others. asked: the heads of every call."""

    rewards: dict[tuple[int, int], float]
    layers: int = 4
    heads: int = 3
    asked: list[Any] = field(default_factory=list)

    def __call__(self, rules: Sequence[Rule]) -> float:
        self.asked.append([rule.heads for rule in rules if isinstance(rule, ACT | ZeroTuning)])
        return 0.5 + sum(self.of(rule, head) for rule in rules if isinstance(rule, ACT | ZeroTuning) for head in rule.heads or ())

    def of(self, rule: ACT | ZeroTuning, head: tuple[int, int]) -> float:
        """A positive reward grows with factors above 1, a negative one with factors below."""
        if isinstance(rule, ACT):
            return self.rewards.get(head, -0.1)
        return self.rewards[head] * (rule.gamma - 1) if head in self.rewards else -0.1 * abs(rule.gamma - 1)

    def describe(self) -> dict[str, Any]:
        return {"objective": "planted", "rewards": repr(sorted(self.rewards.items()))}


def test_heads_that_help_are_found_and_ranked() -> None:
    objective = Planted({(2, 1): 0.2, (1, 0): 0.3, (1, 2): 0.2})
    found = search_heads(objective, ACT(first_layer=1, last_layer=-1))
    assert found.heads == [(1, 0), (1, 2), (2, 1)]
    assert found.plain == 0.5
    assert found.together == pytest.approx(1.2)
    assert describe(found.best(2)) == describe(ACT(heads=[(1, 0), (1, 2)], first_layer=1, last_layer=-1))
    assert objective.asked == [[], *[[[(layer, head)]] for layer in (1, 2, 3) for head in range(3)], [found.heads]]  # each once, and all in the end


def test_a_search_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "act.json"

    class Killed(Planted):
        def __call__(self, rules: Sequence[Rule]) -> float:
            if len(self.asked) == 5:
                raise KeyboardInterrupt
            return super().__call__(rules)

    rule, rewards = ACT(first_layer=1), {(2, 1): 0.2, (1, 0): 0.3}
    with pytest.raises(KeyboardInterrupt):
        search_heads(Killed(rewards), rule, path)
    assert len(HeadProfile.load(path).scores) == 4
    rest, whole = Planted(rewards), search_heads(Planted(rewards), rule)
    assert search_heads(rest, rule, path) == whole == HeadProfile.load(path)
    assert len(rest.asked) == 1 + 2 + 1
    again = Planted(rewards)
    assert search_heads(again, rule, path) == whole
    assert again.asked == [[]]  # which tells the model from another one


def test_another_search_does_not_go_on_in_the_same_file(tmp_path: Path) -> None:
    path, rewards = tmp_path / "act.json", {(1, 0): 0.3}
    search_heads(Planted(rewards), ACT(first_layer=1), path)
    with pytest.raises(ValueError, match=r"another rule: .*'sink_keep': 0.4.*'sink_keep': 0.1.*; give another path"):
        search_heads(Planted(rewards), ACT(0.1, first_layer=1), path)
    with pytest.raises(ValueError, match="another objective"):
        search_heads(Planted({}), ACT(first_layer=1), path)

    class Other(Planted):
        def __call__(self, rules: Sequence[Rule]) -> float:
            return super().__call__(rules) + 0.1

    with pytest.raises(ValueError, match=r"another model: its score without the rule was 0\.5000\d+, and now it is 0\.6"):
        search_heads(Other(rewards), ACT(first_layer=1), path)
    path.write_text("{}")
    with pytest.raises(ValueError, match="is not the result of a search"):
        search_heads(Planted(rewards), ACT(first_layer=1), path)


def test_where_nothing_helps_there_is_no_rule() -> None:
    with pytest.raises(ValueError, match=r"mm.reweight.ACT raises the score 0\.5000 in none of the 3 heads tried"):
        search_heads(Planted({}), ACT()).best()
    found = search_gamma(Planted({}))
    assert (found.gamma, found.grid) == (1.0, {})
    with pytest.raises(ValueError, match=r"ZeroTuning raises the score 0\.5000 with none of the factors \(no heads\)"):
        found.best()
    with pytest.raises(ValueError, match="has heads already"):
        search_heads(Planted({}), ACT(heads=[(2, 0)]))
    with pytest.raises(ValueError, match="first_layer is 9, and the model has layers 0 to 3"):
        search_heads(Planted({}), ACT(first_layer=9))


def test_the_factor_of_the_first_token_is_found_on_its_side(tmp_path: Path) -> None:
    objective = Planted({(0, 1): 0.2, (3, 2): 0.1})
    found = search_gamma(objective, gammas=(0.5, 1.5, 2.0), folder=tmp_path)
    assert found.up.heads == [(0, 1), (3, 2)]
    assert (found.gamma, found.best().heads) == (2.0, [(0, 1), (3, 2)])
    lower = search_gamma(Planted({(1, 1): -0.5, (2, 2): -0.6}), gammas=(0.25, 0.5, 1.5))
    assert not lower.up.heads
    assert (lower.gamma, lower.best().heads) == (0.25, [(2, 2), (1, 1)])
    assert list(lower.grid) == [0.25, 0.5]
    said = json.loads((tmp_path / "gamma.json").read_text())
    assert (said["gamma"], said["objective"]["objective"], [gamma for gamma, _ in said["grid"]]) == (2.0, "planted", [1.5, 2.0])
    again = Planted(objective.rewards)
    assert search_gamma(again, gammas=(0.5, 1.5, 2.0), folder=tmp_path) == found
    assert again.asked == [[], []]
    with pytest.raises(ValueError, match="up is above 1 and down below"):
        search_gamma(objective, up=0.5)


def test_what_was_found_is_a_lever_of_an_evaluation(tmp_path: Path) -> None:
    found = search_heads(Planted({(2, 1): 0.2, (1, 0): 0.3}), ACT(first_layer=1))
    path = tmp_path / "found.yaml"
    path.write_text(lever(found.best(), "searched on a toy"))
    assert path.read_text().startswith("# searched on a toy\nmodel:\n")
    rule = build(read_lever(path)["reweight"][0])
    assert [tuple(head) for head in rule.heads] == [(1, 0), (2, 1)]
    assert rule.head_mask(1, 3).tolist() == [True, False, False]


def vlm_questions() -> tuple[Any, Samples]:
    vlm = toy(config={"num_hidden_layers": 3})
    return vlm, Samples(vlm, [about(seed) for seed in range(5)], batch_size=2)


def llava_questions() -> tuple[Any, Prompts]:
    model = FAMILIES["llava"].model()
    return model, Prompts(model, [FAMILIES["llava"].inputs(["ssIqqq", "Iqq"]), FAMILIES["llava"].inputs(["sIq", "sIqqq"], left=False)])


KINDS = {"vlm": vlm_questions, "llava": llava_questions}


def plain_logits(kind: str, model: Any, questions: Any) -> Tensor:
    """Of each question alone."""
    if kind == "vlm":
        return torch.cat([model.next_token_logits([about(seed)]) for seed in range(5)])
    with torch.no_grad():
        return torch.cat([model(**FAMILIES["llava"].inputs([prompt])).logits[:, -1] for prompt in ("ssIqqq", "Iqq", "sIq", "sIqqq")])


@pytest.mark.parametrize("kind", KINDS)
def test_questions_are_read_in_batches_as_each_alone(kind: str) -> None:
    model, questions = KINDS[kind]()
    torch.testing.assert_close(questions.logits([]), plain_logits(kind, model, questions), rtol=0, atol=2e-4)
    rule = ZeroTuning(4.0, heads=[(1, 2)])
    with mm.steer(model, reweight=[rule]):
        wanted = plain_logits(kind, model, questions)
    torch.testing.assert_close(questions.logits([rule]), wanted, rtol=0, atol=2e-4)
    assert (wanted - questions.logits([])).abs().max() > 1e-2


@pytest.mark.parametrize("kind", KINDS)
def test_accuracy_and_certainty_are_those_of_the_answers(kind: str) -> None:
    model, questions = KINDS[kind]()
    logits = plain_logits(kind, model, questions)
    likeliest = logits[:, [4, 7]].argmax(1)
    answers = [(4, 7)[index] for index in likeliest]
    assert Accuracy(questions, answers, [4, 7])([]) == 1.0
    assert Accuracy(questions, [11 - answers[0], *answers[1:]], [4, 7])([]) == 1.0 - 1 / len(answers)
    assert Accuracy(questions, logits.argmax(1).tolist())([]) == 1.0
    p = logits[:, [4, 7]].softmax(1)
    assert Certainty(questions, [4, 7])([]) == pytest.approx(float((p * p.log()).sum(1).mean()), abs=1e-4)
    with pytest.raises(ValueError, match=f"has 1 answers to {len(answers)} questions"):
        Accuracy(questions, [4])
    with pytest.raises(ValueError, match=r"the answer 5 is none of the candidates \[4, 7\]"):
        Accuracy(questions, [5] * len(answers), [4, 7])


def spoiled(model: Any, layer: int, head: int) -> None:
    """One head shouts what it sees of the first token, over everything else."""
    decoder = model if hasattr(model, "get_decoder") else model.language.model
    attention = decoder_layers(decoder)[layer].self_attn
    with torch.no_grad():
        attention.o_proj.weight[:, 8 * head:8 * (head + 1)] *= 60


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_that_spoils_the_answers_of_a_model_is_found(kind: str) -> None:
    """The right answers are those of the sound model; the cure is to hide the first token from the head that shouts."""
    model, questions = KINDS[kind]()
    spoiled(model, 0, 1)
    loud = ZeroTuning(1e-4, heads=[(0, 1)])
    answers = questions.logits([loud]).argmax(1).tolist()
    objective = Accuracy(questions, answers)
    found = search_heads(objective, ZeroTuning(1e-4))
    assert found.plain < 1.0
    assert found.heads[0] == (0, 1)
    assert found.scores[(0, 1)] == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_searching_is_deterministic_and_leaves_the_model_as_it_was(kind: str) -> None:
    model, questions = KINDS[kind]()
    model.train()
    decoder = text_decoder(model if kind == "llava" else model.language.model)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    held = list(model.reweight) if kind == "vlm" else None
    attributes = set(vars(decoder))
    first, second = (search_gamma(Certainty(questions), gammas=(0.5, 2.0)) for _ in range(2))
    assert first == second
    assert first.up.scores != first.down.scores
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert set(vars(decoder)) == attributes
    if kind == "vlm":
        assert list(model.reweight) == held
    else:
        assert model.config.get_text_config()._attn_implementation == "sdpa"
        assert not any(module._forward_pre_hooks for module in model.modules())


def test_the_rules_of_the_model_are_set_aside_while_it_is_searched() -> None:
    vlm, _ = vlm_questions()
    plain = Samples(vlm, [about(0)]).logits([])
    vlm.reweight = mm.reweight.Rules([PAI(alpha=3.0, first_layer=0)], 3, 4)
    assert torch.equal(Samples(vlm, [about(0)]).logits([]), plain)
    assert (vlm.next_token_logits([about(0)]) - plain).abs().max() > 1e-2


def test_a_calibration_set_holds_something() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        Samples(toy(), [])
    with pytest.raises(ValueError, match="at least one batch"):
        Prompts(FAMILIES["llava"].model(), [])
