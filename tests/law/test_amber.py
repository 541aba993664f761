"""AMBER on a tiny copy in its official layout and on the procedural world, with scripted models."""
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from data.world.vocabulary import SYNONYMS
from eval.__main__ import evaluate, main, parse
from eval.amber import AMBER
from eval.frame.annotated import load
from eval.frame.assembled import Assembled
from eval.frame.benchmark import Item
from mm.decoding import BeamSearch
from mm.masks import ImageBlock
from mm.models import Branches
from mm.positions import Restart
from tests import picture_layouts
from tests.clip_benchmarks import options
from tests.picture_layouts import write
from tests.scripted import Scripted
from tests.vlms import toy

ODD = ("", "It is hard to say, for several reasons.", "yes and no", "はい、そうです", "Yes. " * 2000, "NO", "No.")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picture_layouts.amber(tmp_path_factory.mktemp("amber"))


def files(copy: Path, **more: Any) -> AMBER:
    return AMBER(str(copy), str(copy / "image"), **{"nouns": "words", **more})


def test_amber_asks_every_row_and_scores_both_halves(copy: Path, tmp_path: Path) -> None:
    model = Scripted(lambda item: "A kitten and two puppies on a desk, orange light." if "Describe" in item.question else "No")
    result = evaluate("amber", files(copy), model, options(tmp_path))
    value = {name: score["value"] for name, score in result.scores.items()}
    assert (result.n, result.unparsed) == (21, 0)
    assert (value["chair"], value["cover"], value["hal"], value["cog"]) == (1 / 4, 1, 1, 1 / 2)  # kitten, puppy, desk, orange
    assert (value["relation/accuracy"], value["relation/precision"], value["relation/recall"]) == (1 / 2, 1 / 2, 1)  # both of its types
    assert (value["existence/precision"], value["existence/recall"], value["existence/accuracy"]) == (1, 1, 1)
    assert value["discriminative/f1"] == 2 * 12 / (18 + 12)
    assert value["amber"] == (1 - 1 / 4 + 0.8) / 2
    responses = json.loads((tmp_path / "amber.responses.official.json").read_text())
    assert [entry["id"] for entry in responses] == list(range(1, 22))
    assert responses[3] == {"id": 4, "response": "No"}
    assert {"nouns": "words", "threshold": 0.8}.items() <= result.settings.items()
    assert result.settings["similarity"] == {"class_path": "eval.text.similarity.ExactWords", "init_args": {}}
    assert any("equal words only" in remark for remark in result.remarks)
    assert any("our own reader" in remark for remark in result.remarks)


READ = {  # parser -> which of the odd answers it reads
    "official": (), "lmms_eval": ("yes and no", "Yes. " * 2000, "NO", "No."), "vlmevalkit": ("Yes. " * 2000, "NO", "No."), "strict": ("NO", "No.")}


@pytest.mark.parametrize("parser", READ)
def test_odd_answers_are_counted_and_not_taken_for_an_answer(copy: Path, tmp_path: Path, parser: str) -> None:
    for place, odd in enumerate(ODD):
        result = evaluate("amber", files(copy), Scripted(lambda item, odd=odd: odd), options(tmp_path / str(place), parser))
        assert (result.n, result.unparsed) == (21, 3 if odd in READ[parser] else 21)  # no description names anything
        right = 0.0 if odd not in READ[parser] else 2 / 3 if odd in ("NO", "No.") else 1 / 3
        assert result.scores["discriminative/accuracy"]["value"] == pytest.approx(right)
        assert result.scores["chair"]["value"] is None
        assert any(remark.startswith("unparsed: 3 of 3 descriptions") for remark in result.remarks)
        assert "chair is undefined: nothing to divide by" in result.remarks


@pytest.mark.parametrize(("evaluation", "n", "names"), [
    ("g", 3, {"chair", "cover", "hal", "cog"}), ("de", 3, {"discriminative", "existence"}), ("dr", 6, {"discriminative", "relation"}),
    ("da", 9, {"discriminative", "attribute", "state", "number", "action"})])
def test_a_part_is_asked_alone(copy: Path, evaluation: Any, n: int, names: set[str]) -> None:
    benchmark = files(copy, evaluation=evaluation)
    rows = [{**item.row, "id": item.id, "answer": "No"} for item in benchmark.items()]
    scored = benchmark.aggregate([row | benchmark.judge(row, "official") for row in rows])
    assert (scored.n, {name.split("/")[0] for name in scored.scores}) == (n, names)
    assert "as the official script prints it" in " ".join(scored.remarks)
    assert benchmark.max_new_tokens == (512 if evaluation == "g" else 16)


def test_files_that_do_not_belong_together_are_named(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no query_all\.json"):
        load(tmp_path)
    broken = picture_layouts.amber(tmp_path / "broken", pictures=1)
    truths = json.loads((broken / "annotations.json").read_text())
    write(broken / "annotations.json", [entry for entry in truths if entry["id"] != 3])
    with pytest.raises(ValueError, match=r"query_all\.json, record 3: id 3 has no annotation"):
        load(broken)
    write(broken / "annotations.json", [entry | {"type": "discriminative-colour"} if entry["id"] == 3 else entry for entry in truths])
    with pytest.raises(ValueError, match=r"id 3: unknown type 'discriminative-colour'"):
        load(broken)
    write(broken / "annotations.json", [entry | {"truth": "maybe"} if entry["id"] == 3 else entry for entry in truths])
    with pytest.raises(ValueError, match="id 3: expected the truth yes or no, found 'maybe'"):
        load(broken)
    write(broken / "annotations.json", [entry | {"truth": ["whale"]} if entry["id"] == 1 else entry for entry in truths])
    with pytest.raises(ValueError, match="'whale' is none of the 7 words"):
        load(broken)
    write(broken / "annotations.json", [*truths, truths[0]])
    with pytest.raises(ValueError, match="a second annotation of id 7"):
        load(broken)


def test_what_the_scorer_lacks_is_said_before_anything_is_answered(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nltk", None)
    with pytest.raises(RuntimeError, match=r"needs NLTK.*--amber\.nouns words"):
        files(copy, nouns="nltk").items()
    assert len(files(copy, nouns="nltk", evaluation="d").items()) == 18  # questions need no nouns


# --- the world


def truthful(item: Item) -> str:
    truth = item.row["truth"]
    return truth if isinstance(truth, str) else f"there is a red {' , a blue '.join(truth)} ."


def test_the_truth_is_perfect_on_the_world_and_its_prior_is_what_cog_counts(tmp_path: Path) -> None:
    benchmark = AMBER(size=12)
    result = evaluate("amber", benchmark, Scripted(truthful), options(tmp_path / "true"))
    value = {name: score["value"] for name, score in result.scores.items()}
    assert (value["chair"], value["cover"], value["hal"], value["cog"], value["discriminative/accuracy"], value["amber"]) == (0, 1, 0, 0, 1, 1)
    assert result.unparsed == 0
    prior = evaluate("amber", benchmark, Scripted(lambda item: f"a {' , a '.join(item.row['hallu'])} ." if "hallu" in item.row else "yes"),
                     options(tmp_path / "prior"))
    assert (prior.scores["chair"]["value"], prior.scores["cover"]["value"], prior.scores["cog"]["value"]) == (1, 0, 1)
    assert prior.scores["existence/accuracy"]["value"] == 0
    assert prior.scores["relation/accuracy"]["value"] == prior.scores["state/accuracy"]["value"] == 0.5


def test_rows_of_the_world_are_like_the_official_ones() -> None:
    items = AMBER(size=30).items()
    kinds = {(item.row["type"], item.row["truth"] if isinstance(item.row["truth"], str) else "objects") for item in items}
    assert kinds == {("generative", "objects"), ("discriminative-attribute-state", "yes"), ("discriminative-attribute-state", "no"),
                     ("discriminative-attribute-number", "yes"), ("discriminative-attribute-number", "no"), ("discriminative-hallucination", "no"),
                     ("discriminative-relation", "yes"), ("relation", "no")}
    assert [int(item.id) for item in items] == list(range(1, len(items) + 1))
    described = [item.row for item in items if item.row["dimension"] == "generative"]
    assert all(not set(row["truth"]) & set(row["hallu"]) for row in described)
    assert len({tuple(row["hallu"]) for row in described}) > 5
    assert all(item.context is not None for item in items)


def test_a_liar_of_known_rate_gets_exactly_that_chair() -> None:
    benchmark = AMBER(size=20, evaluation="g")
    synonyms = {line.split(", ")[0]: line.split(", ")[1] for line in SYNONYMS}
    rows = []
    for item in benchmark.items():
        absent = [shape for shape in synonyms if shape not in item.row["truth"]]
        said = [synonyms[item.row["truth"][0]], absent[0], item.row["truth"][0], absent[1]]  # a synonym names its object
        rows.append({**item.row, "answer": f"There is a {' , a '.join(said)} ."})
    scores = benchmark.aggregate([row | benchmark.judge(row, "official") for row in rows]).scores
    assert (scores["chair"].value, scores["hal"].value, scores["chair"].n) == (0.5, 1, 80)
    assert math.isclose(scores["cover"].value, 20 / sum(len(row["truth"]) for row in rows))


def test_the_world_s_export_is_what_the_official_script_reads(tmp_path: Path) -> None:
    evaluate("amber", AMBER(size=5), Scripted(truthful), options(tmp_path, limit=2))
    responses, truths = (json.loads((tmp_path / f"amber-limit2.{name}.official.json").read_text()) for name in ("responses", "annotations"))
    assert [entry["id"] for entry in truths] == list(range(1, len(truths) + 1))  # it looks them up by place
    assert {entry["response"] for entry in responses if truths[entry["id"] - 1]["type"] != "generative"} == {"Yes", "No"}


# --- the command line


def test_descriptions_and_answers_have_lengths_of_their_own() -> None:
    benchmark = AMBER(size=6, max_new_tokens=20, max_answer_tokens=3)
    model = toy(mask=ImageBlock(), positions=Restart(), layout=Branches())  # it has learnt nothing, and rambles on
    items = [item for item in benchmark.items() if item.picture == benchmark.items()[0].picture]
    media = {items[0].picture: items[0].media()}
    for decoding in (None, BeamSearch(2)):
        said = Assembled(model, 16).answer(items, media, benchmark.max_new_tokens, decoding)
        lengths = {item.row["dimension"] == "generative": answer.generated for item, answer in zip(items, said, strict=True)}
        assert lengths == {True: 20, False: 3}
    assert {"max_new_tokens": 20, "max_answer_tokens": 3}.items() <= benchmark.settings().items()
    assert AMBER(size=6, evaluation="d", max_new_tokens=20).max_new_tokens == 16


def test_how_sure_the_model_is_joins_the_scores_where_it_is_known(copy: Path, tmp_path: Path) -> None:
    scores = evaluate("amber", files(copy), Scripted(lambda item: "No"), options(tmp_path)).scores
    assert scores["discriminative/logp_accuracy"]["n"] == 18
    assert scores["relation/auc"]["value"] == pytest.approx(auc := scores["attribute/auc"]["value"])
    assert 0 <= auc <= 1
    assert {"existence/brier", "existence/ece"} < set(scores)
    assert "existence/auc" not in scores  # all of its truths are no
    unsure = [{**item.row, "id": item.id, "answer": "No"} for item in files(copy).items()]
    known = files(copy).aggregate([row | files(copy).judge(row, "official") for row in unsure]).scores
    assert not [name for name in known if name.endswith(("auc", "ece", "brier", "logp_accuracy"))]


def test_the_command_line_asks_about_files_and_the_world(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy(config={"max_position_embeddings": 512}).save(tmp_path / "model")
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("cat 1 0\nkitten 0.9 0.1\ndog 0 1\n")
    command = ["amber", "--model", str(tmp_path), "--data", str(copy), "--images", str(copy / "image"), "--amber.nouns", "words",
               "--amber.similarity", "eval.text.similarity.WordVectors", "--amber.similarity.file", str(vectors), "--amber.max_new_tokens", "4"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "n 21" in said
    assert "7 words of the vocabulary have no vector" in said
    settings = json.loads((tmp_path / "eval" / "amber.json").read_text())["settings"]
    assert settings["similarity"]["init_args"] == {"file": str(vectors)}
    assert main(["amber", "amber:context", "--model", str(tmp_path), "--amber.size", "3", "--amber.max_new_tokens", "4", "--limit", "2", "--out",
                 str(tmp_path / "world")]) == 0
    assert {"amber-limit2.json", "amber-context-limit2.json"} <= {path.name for path in (tmp_path / "world").iterdir()}


def test_no_similarity_is_the_default_and_another_is_an_option(copy: Path) -> None:
    given = ["--model", "m", "--amber.data", str(copy), "--amber.evaluation", "d", "--amber.threshold", "0.7"]
    assert parse(["amber"], given)[1]["amber"].settings()["similarity"]["class_path"].endswith("ExactWords")
