"""lmms-eval as a client: it finds our model, its requests are answered by its protocol, and the tasks that we write for it score as it does."""
import importlib
import json
import random
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from eval.clients import yes_no
from eval.clients.lmms_eval import main
from eval.pope import POPE
from tests.answering import saved
from tests.harness import Instance, ModelManifest, lmms, standing_in

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Our class on four documents of two pictures."""
    with standing_in():
        module = importlib.import_module("mm.clients.lmms_eval_model")
        found = module.MM(str(saved(tmp_path_factory.mktemp("run"))), batch_size="3")
        found.task_dict = {"stars": {"test": [item for item in POPE(size=2, k=1).items() if item.split == "random"]}}
        yield found


def show(doc: Any) -> list[Image.Image]:
    return [Image.fromarray(doc.media()[0].frames[0])]


def text(doc: Any) -> str:
    return str(doc.question.removeprefix("<image>\n"))


def requests(model: Any, *settings: Any) -> list[Instance]:
    docs = model.task_dict["stars"]["test"]
    return [Instance((text(doc), *settings, i, "stars", "test")) for i, doc in enumerate(docs)]


def test_the_entry_point_is_a_manifest_of_a_model_of_the_library() -> None:
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["lmms_eval.models"]
    module, _, name = entry["mm"].partition(":")
    with standing_in():
        manifest = getattr(importlib.import_module(module), name)
        home, _, kind = manifest.simple_class_path.rpartition(".")
        assert isinstance(manifest, ModelManifest)
        assert manifest.model_id == "mm"
        found = getattr(importlib.import_module(home), kind)
        assert issubclass(found, lmms)
        assert found.is_simple


def test_texts_come_in_the_order_of_the_requests(model: Any) -> None:
    said = model.generate_until(requests(model, {"max_new_tokens": 8, "until": []}, show))
    alone = [model.generate_until([request])[0] for request in requests(model, {"max_new_tokens": 8, "until": []}, show)]
    assert said == alone
    assert all(isinstance(each, str) for each in said)
    assert model.generate_until(requests(model, {"max_new_tokens": 8, "until": [said[0]]}, show))[0] == ""


def test_numbers_of_likelihood_are_losses_as_the_library_reads_them(model: Any) -> None:
    """A bare pair would be made a string; the smallest number is its choice."""
    losses = {answer: [each.text for each in model.loglikelihood(requests(model, answer, show))] for answer in (" yes", " no")}
    assert all(loss > 0 for loss, _ in losses[" yes"])
    for i, greedy in enumerate(model.generate_until(requests(model, {"max_new_tokens": 1}, show))):
        chosen = min(losses, key=lambda answer: losses[answer][i][0])
        assert losses[chosen][i][1] == (greedy == chosen.strip())
    by_doc = model.loglikelihood(requests(model, lambda doc: doc.row["label"], show))
    docs = model.task_dict["stars"]["test"]
    assert [each.text[0] for each in by_doc] == pytest.approx([losses[f" {doc.row['label']}"][i][0] for i, doc in enumerate(docs)])
    with pytest.raises(ValueError, match="acc_mutual_info cannot be given"):
        model.loglikelihood([*requests(model, " yes", show), Instance(("", "yes"))])


def test_rounds_go_on_until_the_task_ends_them_each_document_by_itself(model: Any) -> None:
    def ask(doc: Any, previous_output: list[str], round_idx: int, previous_round_info: Any) -> tuple[Any, Any, bool, Any, Any]:
        assert len(previous_output) == round_idx
        assert previous_round_info == (None if round_idx == 1 else f"{doc.id} {round_idx - 1}")
        if round_idx > int(doc.id[-1]):
            return None, None, True, (*previous_output, "end"), None
        return show(doc), "is there a ring ?", False, previous_output, f"{doc.id} {round_idx}"

    said = model.generate_until_multi_round(requests(model, {"max_new_tokens": 8}, show, ask))
    assert [len(each) for each in said] == [2, 3, 4, 5]
    assert all(isinstance(each, list) and each[-1] == "end" for each in said)  # a tuple would be made a string
    assert [each[0] for each in said] == model.generate_until(requests(model, {"max_new_tokens": 8}, show))


@pytest.mark.parametrize("size", ["auto", "0", "-1", "1.5"])
def test_a_batch_size_is_a_number(model: Any, size: str) -> None:
    with pytest.raises(ValueError, match=f"--batch_size {size}"):
        type(model)("nowhere", batch_size=size)


# --- tasks


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tasks")
    assert main(["pope", "--out", str(out), "--limit", "3", "--pope.size", "6"]) == 0
    return out


class Functions(yaml.SafeLoader):
    """Reads lmms-eval's tag as the name of the function."""


Functions.add_constructor("!function", lambda loader, node: f"function {loader.construct_scalar(node)}")


def test_each_split_is_a_task_and_all_are_a_group(tasks: Path) -> None:
    names = ["mm_pope_random", "mm_pope_popular", "mm_pope_adversarial"]
    assert yaml.safe_load((tasks / "pope.yaml").read_text()) == {"group": "mm_pope", "task": names}
    for name in names:
        task = yaml.load((tasks / f"{name.removeprefix('mm_')}.yaml").read_text(), Functions)
        assert task["task"] == name
        assert task["generation_kwargs"] == {"max_new_tokens": 8, "temperature": 0, "num_beams": 1, "do_sample": False, "until": []}
        functions = [task["doc_to_visual"], task["doc_to_text"], task["process_results"], *(each["aggregation"] for each in task["metric_list"])]
        assert all(hasattr(yes_no, each.removeprefix("function yes_no.")) for each in functions)
        assert [each["metric"] for each in task["metric_list"]] == list(yes_no.METRICS)
        assert Path(task["dataset_kwargs"]["data_files"]["test"]).is_file()
    assert (tasks / "yes_no.py").read_text() == Path(yes_no.__file__).read_text()


def test_a_document_is_the_item_and_its_picture_has_no_loss(tasks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yes_no, "__file__", str(tasks / "yes_no.py"))
    items = {item.id: item for item in POPE(size=6).items()}
    docs = [json.loads(line) for split in ("random", "popular", "adversarial") for line in (tasks / f"pope_{split}.jsonl").read_text().splitlines()]
    assert len(docs) == 36
    for doc in docs:
        item = items[doc["id"]]
        assert "<image>\n" + yes_no.doc_to_text(doc) == item.question
        assert doc["label"] == item.row["label"]
        assert np.array_equal(np.asarray(yes_no.doc_to_visual(doc)[0]), item.media()[0].frames[0])


@pytest.mark.parametrize("answers", [("yes", "no"), (" Yes ", "NO\n", "no"), ("yes", "no", "", "Yes, there is.", "да", "yes " * 2500)],
                         ids=["plain", "dressed", "odd"])
def test_its_metrics_are_ours_with_the_parser_lmms_eval(answers: tuple[str, ...]) -> None:
    rng, benchmark = random.Random(0), POPE(size=1)
    rows = [{"id": str(i), "label": rng.choice(("yes", "no")), "answer": rng.choice(answers)} for i in range(300)]
    records = [yes_no.process_results(row, [row["answer"]])["pope_accuracy"] for row in rows]
    scored = benchmark.aggregate([{**row, "split": f"part{i % 2}", "image": str(i // 6)} | benchmark.judge(row, "lmms_eval")
                                  for i, row in enumerate(rows)])
    assert scored.unparsed == yes_no.unparsed(records) == sum(row["answer"].strip().lower() not in ("yes", "no") for row in rows)
    for part in (0, 1):
        own = records[part::2]
        found = {name: scored.scores[f"part{part}/{name}"].value for name in ("accuracy", "precision", "recall", "f1", "yes_ratio")}
        assert found == {"accuracy": yes_no.accuracy(own), "precision": yes_no.precision(own), "recall": yes_no.recall(own),
                         "f1": yes_no.f1_score(own), "yes_ratio": yes_no.yes_ratio(own)}
        assert f"part{part} {yes_no.yes_ratio_of_truth(own):.4f}" in scored.remarks[-1]
    assert scored.scores["mean/f1"].value == pytest.approx(sum(yes_no.f1_score(records[part::2]) for part in (0, 1)) / 2)
    assert f"{scored.unparsed} answers that are neither yes nor no are wrong, and in no recall or F1" in scored.remarks[-1]


def test_its_yes_ratio_is_that_of_the_truth_and_nothing_divides_by_zero() -> None:
    records = [{"prediction": "yes", "truth": "yes"}, {"prediction": "yes", "truth": "no"}]
    assert (yes_no.yes_ratio_of_truth(records), yes_no.yes_ratio(records)) == (0.5, 1.0)
    silent = [{"prediction": "", "truth": "no"}]
    assert [f(silent) for f in (yes_no.accuracy, yes_no.precision, yes_no.recall, yes_no.f1_score, yes_no.yes_ratio)] == [0] * 5
    assert yes_no.accuracy([]) == yes_no.yes_ratio_of_truth([]) == 0


@pytest.mark.parametrize(("given", "said"), [
    ([], "name the benchmarks first"), (["popee", "--out", "new"], "did you mean 'pope'"), (["pope"], "required: out"),
    (["chair", "--out", "new", "--limit", "1"], "neither yes nor no"), (["order", "--out", "new", "--limit", "1"], "about a clip"),
    (["pope", "--out", "full"], "not an empty folder"), (["pope", "--out", "new", "--pope.kk", "3"], "kk"),
], ids=["nothing", "misspelt", "nowhere", "captions", "clips", "full", "option"])
def test_what_cannot_be_a_task_is_one_clear_error_and_leaves_nothing(
        given: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    assert main(given) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
