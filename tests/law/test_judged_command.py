"""Judged benchmarks through python -m eval on a toy on disk: an endpoint that a thread serves, a judge on disk, one that breaks off, and none."""
import json
from pathlib import Path

import pytest

from eval.__main__ import main
from eval.frame.result import Result
from tests import judged_layouts
from tests.answering import saved
from tests.judging import Server, judge_directory, served

NAMES = ("hallusionbench", "mmhal", "mmvp")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the model; the copies lie beside it."""
    folder = saved(tmp_path_factory.mktemp("run"))
    judged_layouts.hallusionbench(folder / "hallusionbench")
    judged_layouts.mmhal(folder / "mmhal")
    judged_layouts.mmvp(folder / "mmvp")
    return folder


def command(directory: Path, out: Path, *names: str, judge: Server | str | None = None) -> list[str]:
    files = {"hallusionbench": "HallusionBench.json", "mmhal": "response_template.json", "mmvp": "Questions.csv"}
    given = [*names, "--model", str(directory), "--out", str(out)]
    for name in names:
        given += [f"--{name}.data", str(directory / name / files[name]), f"--{name}.images", str(directory / name / "images"),
                  f"--{name}.max_new_tokens", "4"]
        if isinstance(judge, Server):
            given += [f"--{name}.judge", "eval.judges.Endpoint", f"--{name}.judge.url", judge.url, f"--{name}.judge.model", "wise",
                      f"--{name}.judge.threads", "1", f"--{name}.judge.retries", "0"]
        elif judge is not None:
            given += [f"--{name}.judge", "eval.judges.Local", f"--{name}.judge.path", judge, f"--{name}.judge.max_tokens", "4"]
    return given


def wise(prompt: str) -> str:
    return "Rating: 4" if "rating" in prompt else "correct" if "unclear" in prompt else "same" if "different" in prompt else "yes"


def test_an_endpoint_judges_all_three_and_the_result_names_it(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(wise) as server:
        assert main(command(directory, tmp_path, *NAMES, judge=server)) == 0
        asked = len(server.bodies)
        assert main(command(directory, tmp_path, *NAMES, judge=server)) == 0
        assert len(server.bodies) == asked  # nobody is asked twice
    assert f"note: verdicts by wise at {server.url}" in capsys.readouterr().out
    results = {name: Result.load(tmp_path / f"{name}.json") for name in NAMES}
    assert {name: (result.n, result.unparsed) for name, result in results.items()} == {"hallusionbench": (8, 0), "mmhal": (9, 0), "mmvp": (5, 0)}
    assert [results[name].scores[metric]["value"] for name, metric in zip(NAMES, ("all/qAcc", "rating", "pair_accuracy"), strict=True)] == [1, 4, 1]
    for result in results.values():
        assert result.settings["judge"]["class_path"] == "eval.judges.Endpoint"
        assert result.settings["judge"]["init_args"]["url"] == server.url
        assert "judge" not in result.settings["decoding"]


def test_a_judge_on_disk_judges_and_its_nonsense_is_counted(directory: Path, tmp_path: Path) -> None:
    judge = judge_directory(tmp_path / "tiny")
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("{question} {truth} {answer}")  # ours are longer than it can read
    same = tmp_path / "same.txt"
    same.write_text("{answer} {other}")
    given = ["--hallusionbench.check_prompt", str(prompt), "--hallusionbench.same_prompt", str(same)]
    assert main([*command(directory, tmp_path, "hallusionbench", judge=str(judge)), *given]) == 0
    result = Result.load(tmp_path / "hallusionbench.json")
    assert (result.n, result.unparsed) == (8, 8)
    assert result.settings["judge"]["name"].startswith("tiny (")
    assert result.settings["judge_prompts"] == {"check": "{question} {truth} {answer}", "same": "{answer} {other}"}


def test_a_judge_that_breaks_off_is_one_line_and_the_next_run_goes_on(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = 3

    def tired(prompt: str) -> str | tuple[int, str]:
        nonlocal left
        left -= 1
        return "Rating: 4" if left >= 0 else (402, "no money")

    with served(tired) as server:
        assert main(command(directory, tmp_path, "mmhal", judge=server)) == 2
        said = capsys.readouterr().err
        assert "refused with HTTP status 402: no money. All answers and 3 of 9 verdicts are kept" in said
        assert not (tmp_path / "mmhal.json").exists()
        answers = (tmp_path / "mmhal.items.jsonl").read_bytes()
        left, before = 100, len(server.bodies)
        assert main(command(directory, tmp_path, "mmhal", judge=server)) == 0
        assert len(server.bodies) - before == 6
    assert (tmp_path / "mmhal.items.jsonl").read_bytes() == answers
    assert Result.load(tmp_path / "mmhal.json").n == 9


def test_what_a_judge_lacks_is_said_before_the_model_answers(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    given = command(directory, tmp_path, "mmhal", judge=Server("http://127.0.0.1:9/v1"))
    assert main([*given, "--mmhal.judge.key", "JUDGE_KEY"]) == 2
    assert "environment variable JUDGE_KEY, which is not set" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_harnesses_readers_need_no_judge(directory: Path, tmp_path: Path) -> None:
    for parser, n in (("vlmevalkit", 6), ("lmms_eval", 6), ("strict", 8)):
        assert main([*command(directory, tmp_path, "hallusionbench"), "--parser", parser]) == 0
        assert Result.load(tmp_path / f"hallusionbench-{parser}.json").n == n
    assert main([*command(directory, tmp_path, "mmvp"), "--parser", "lmms_eval"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "mmvp-lmms_eval.rows.jsonl").read_text().splitlines()]
    assert len(rows) == 5
    assert {"choice", "matched", "correct"} <= rows[0].keys()
