"""python -m mm.ask: one question, one picture, one answer; and one sentence where something is wrong."""
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mm.ask import ask, main, probability_of_yes, unknown_words
from mm.sample import Sample
from tests.vlms import about, picture, toy


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with a model, and a picture beside it."""
    folder = tmp_path_factory.mktemp("run")
    toy().save(folder / "model")
    Image.fromarray(picture(0, size=(20, 24)).frames[0]).save(folder / "x.png")
    return folder


def test_it_answers_and_writes_three_panels(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run), "--image", str(run / "x.png"), "is there a star ?", "--places", "2", "--max-new-tokens", "3"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1].startswith(str(run / "x.ask.png"))
    panel = Image.open(run / "x.ask.png")
    assert panel.size == (3 * 384 + 2 * 8, 320)


def test_the_answer_is_what_generate_says() -> None:
    vlm = toy()
    pixels = picture(3).frames[0]
    reply = ask(vlm, pixels, "is there a star ?", max_new_tokens=4)
    assert reply.text == vlm.generate([Sample("", (picture(3),), (about(3, ("\nis there a star ?", "")).turns[0],))], max_new_tokens=4)[0]
    assert reply.heat.shape == (2, 2)
    assert len(reply.looks) == len(reply.text.split()) + 1


def test_p_yes_is_yes_against_no_at_the_first_token() -> None:
    vlm, prompt = toy(), about(1)
    log = vlm.score([prompt], ["yes", "no"])[0].exp()
    assert probability_of_yes(vlm, prompt, "yes") == pytest.approx(float(log[0] / log.sum()), abs=1e-5)
    assert probability_of_yes(vlm, prompt, "No.") == probability_of_yes(vlm, prompt, "yes")
    assert probability_of_yes(vlm, prompt, "a red star") is None


def test_words_without_a_token_are_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert unknown_words(toy(), "is there a Zebra or a star ?") == ("Zebra", "or")
    main([str(run), "--image", str(run / "x.png"), "is there a zebra ?", "--out", str(run / "z.png"), "--places", "0", "--max-new-tokens", "1"])
    assert "'zebra'" in capsys.readouterr().err


@pytest.mark.parametrize(("model", "image", "question", "reason"), [
    ("nowhere", "x.png", "is there ?", "no model in"), ("", "none.png", "is there ?", "there is no file"),
    ("", "x.png", "  ", "the question is empty"),
    ("", "bad.png", "is there ?", "is not a picture")])
def test_mistakes_are_one_line(run: Path, capsys: pytest.CaptureFixture[str], model: str, image: str, question: str, reason: str) -> None:
    (run / "bad.png").write_bytes(np.zeros(50, np.uint8).tobytes())
    assert main([str(run / model), "--image", str(run / image), question]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def test_a_missing_folder_for_the_overlay_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run), "--image", str(run / "x.png"), "is there a star ?", "--out", str(run / "no" / "o.png"), "--places", "0"]) == 2
    assert "there is no folder" in capsys.readouterr().err
