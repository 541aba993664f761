"""Judges: an address, a folder, and the file that keeps what they said."""
import json
from pathlib import Path

import pytest
import torch

from eval.judges import Endpoint, JudgeError, Local, Prompt, Verdicts
from mm.language import WordLevel
from mm.language.tokenizer import prepared
from mm.parts import describe
from tests.judging import Told, judge_directory, served
from tests.vlms import WORDS


def test_an_endpoint_is_asked_greedily_with_the_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-secret")
    with served(lambda prompt: f"re: {prompt}") as server:
        judge = server.judge(key="JUDGE_KEY", system="be strict", max_tokens=7, request={"seed": 3}, threads=3)
        prompts = [f"p{i}" for i in range(20)]
        assert dict(judge.ask(prompts)) == {i: f"re: p{i}" for i in range(20)}
    body = next(body for body in server.bodies if body["messages"][-1]["content"] == "p4")
    assert body == {"path": "/v1/chat/completions", "model": "wise", "temperature": 0, "max_tokens": 7, "seed": 3,
                    "messages": [{"role": "system", "content": "be strict"}, {"role": "user", "content": "p4"}]}
    assert {header["Authorization"] for header in server.headers} == {"Bearer sk-secret"}
    assert "sk-secret" not in json.dumps(describe(judge))
    assert describe(judge)["init_args"]["key"] == "JUDGE_KEY"


def test_a_field_that_a_server_refuses_can_be_taken_away() -> None:
    with served(lambda prompt: "yes") as server:
        assert server.judge(request={"max_tokens": None, "max_completion_tokens": 9}).reply("p") == "yes"
    assert "max_tokens" not in server.bodies[0]
    assert server.bodies[0]["max_completion_tokens"] == 9


def test_what_passes_is_tried_again() -> None:
    statuses = iter([503, 429])

    def rule(prompt: str) -> str | tuple[int, str]:
        status = next(statuses, 200)
        return "fine" if status == 200 else (status, "busy")

    with served(rule) as server:
        assert server.judge().reply("p") == "fine"
    assert len(server.bodies) == 3


@pytest.mark.parametrize(("said", "message", "asked"), [
    ((401, "key sk-secret is unknown"), r"wise at http://127.0.0.1:\d+/v1 refused with HTTP status 401: key \*\*\* is unknown", 1),
    ((503, "busy"), "refused with HTTP status 503: busy", 3),
    ((307, ""), "refused with HTTP status 307", 1),
    ((200, "<html>hello</html>"), "no chat completion with a text: <html>hello</html>", 1),
    ((200, '{"choices": []}'), "no chat completion", 1),
    ((200, '{"choices": [{"message": {"content": null}}]}'), "no chat completion", 1)], ids=["401", "503", "307", "html", "empty", "null"])
def test_a_refusal_is_one_clear_error(said: tuple[int, str], message: str, asked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-secret")
    with served(lambda prompt: said) as server, pytest.raises(JudgeError, match=message):
        server.judge(key="JUDGE_KEY").reply("p")
    assert len(server.bodies) == asked


def test_an_endpoint_that_is_not_there_is_named() -> None:
    with served(lambda prompt: "") as server:
        pass
    with pytest.raises(JudgeError, match=rf"wise at {server.url} cannot be reached after 0 retries: .*refused"):
        server.judge(retries=0).reply("p")


def test_replies_under_way_are_kept_when_one_fails(tmp_path: Path) -> None:
    with served(lambda prompt: (400, "too long") if prompt == "p3" else "yes") as server:
        kept = Verdicts(tmp_path / "v.jsonl")
        with pytest.raises(JudgeError, match=r"400: too long. All answers and \d+ of 40 verdicts are kept .*the same command goes on"):
            kept.ask(server.judge(threads=1), [f"p{i}" for i in range(40)])
    assert 3 <= len(kept.read()) < 40


@pytest.mark.parametrize(("given", "message"), [
    ({"url": "localhost:8000"}, "like http://localhost:8000/v1"), ({"url": "https://me:pw@host/v1"}, "without a query, a user"),
    ({"url": "http://h/v1?key=1"}, "without a query"), ({"key": "sk-abc-123"}, "NAME of an environment variable"), ({"threads": 0}, "threads >= 1")])
def test_an_endpoint_refuses_what_would_leak_or_hang(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Endpoint(**{"url": "http://h/v1", "model": "m", **given})  # type: ignore[arg-type]
    assert not {"me:pw", "key=1", "sk-abc"} & set(str(caught.value).split())


def test_a_missing_key_is_known_before_anybody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with pytest.raises(ValueError, match="environment variable JUDGE_KEY, which is not set"):
        Endpoint("http://h/v1", "m", key="JUDGE_KEY").check()


def test_a_local_judge_says_in_a_batch_what_it_says_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    judge = Local(str(judge_directory(tmp_path / "judge")), max_tokens=6, batch_size=3)
    prompts = [" ".join(WORDS[i:i + 3 * i + 1]) for i in range(5)] + ["<image> is there a star"]
    together = dict(judge.ask(prompts))
    assert sorted(together) == list(range(6))
    assert [dict(judge.ask([prompt]))[0] for prompt in prompts] == [together[i] for i in range(6)]
    assert any(together.values())
    assert judge.name.startswith("judge (")
    assert describe(judge)["init_args"]["path"] == judge.path


def test_a_local_judge_that_is_not_there_or_too_small_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a folder with config"):
        Local(str(tmp_path)).check()
    judge = Local(str(judge_directory(tmp_path / "judge")), max_tokens=200)
    with pytest.raises(JudgeError, match=r"takes 256 tokens, and a prompt has \d+ with 200 to come"):
        dict(judge.ask(["star " * 100]))


def test_a_local_judge_whose_tokenizer_knows_more_than_its_model_says_so(tmp_path: Path) -> None:
    folder = judge_directory(tmp_path / "judge")
    prepared(WordLevel(WORDS).read()).save_pretrained(folder)  # with placeholders, which no embedding stands for
    with pytest.raises(JudgeError, match=r"writes token \d+, and its model knows \d+"):
        dict(Local(str(folder)).ask(["<image> is there a star"]))


def test_nobody_is_asked_twice(tmp_path: Path) -> None:
    kept, judge = Verdicts(tmp_path / "v.jsonl"), Told(str.upper)
    assert kept.ask(judge, ["a", "b", "a"]) == ["A", "B", "A"]
    assert kept.ask(judge, ["b", "c"]) == ["B", "C"]
    assert judge.asked == ["a", "b", "c"]
    other = Told(str.upper)
    other.system = "be strict"
    assert kept.ask(other, ["a"]) == ["A"]
    assert other.asked == ["a"]  # another system text is another judge


def test_a_kill_loses_only_what_was_under_way(tmp_path: Path) -> None:
    path, prompts = tmp_path / "v.jsonl", [f"p{i}" for i in range(6)]
    with pytest.raises(KeyboardInterrupt):
        Verdicts(path).ask(Told(str.upper, replies=4, killed=True), prompts)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])  # the last line was being written
    judge = Told(str.upper)
    assert Verdicts(path).ask(judge, prompts) == [prompt.upper() for prompt in prompts]
    assert judge.asked == prompts[3:]
    assert path.read_bytes().startswith(whole)


def test_a_judge_that_is_gone_leaves_its_verdicts_and_says_how_many(tmp_path: Path) -> None:
    with pytest.raises(JudgeError, match=r"the judge told is gone.* 2 of 3 verdicts are kept"):
        Verdicts(tmp_path / "v.jsonl").ask(Told(str.upper, replies=2), ["a", "b", "c"])


def test_a_damaged_line_is_asked_for_again(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    Verdicts(path).ask(Told(str.upper), ["a", "b"])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"\xff\x00 no JSON\n[1]\n" + lines[1])
    judge = Told(str.upper)
    assert Verdicts(path).ask(judge, ["a", "b"]) == ["A", "B"]
    assert judge.asked == ["a"]


def test_braces_of_an_answer_are_no_places(tmp_path: Path) -> None:
    prompt = Prompt('{question} -> {answer}; reply as {"x": 1}', ("question", "answer"))
    assert prompt.fill({"question": "{answer}", "answer": "{question} {}"}) == '{answer} -> {question} {}; reply as {"x": 1}'
    file = tmp_path / "prompt.txt"
    file.write_text("only {question}")
    with pytest.raises(ValueError, match=r"prompt.txt has no \{answer\}"):
        Prompt.read(str(file), "", ("question", "answer"))
    with pytest.raises(ValueError, match="cannot read the judge's prompt"):
        Prompt.read(str(tmp_path / "none"), "", ("question",))
