"""PIE-Bench on a tiny copy in its official layout, with scripted editors and random encoders."""
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval.edits.editor import Request
from eval.edits.measuring import Measures
from eval.edits.pie import examples
from eval.edits.pie_bench import PIEBench
from eval.frame.journal import Mismatch
from tests.edits import Made, RandomCLIP, Scripted, inverted, pie_bench

SIDE = 64


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return pie_bench(tmp_path / "PIE-Bench")


def bench(copy: Path, out: Path, **changes: Any) -> PIEBench:
    return replace(PIEBench(examples(copy), Measures(RandomCLIP()), {"limit": None}, {"model": "fake"}, out, SIDE), **changes)


def clock() -> float:
    return 0.0


def edit_mapping(copy: Path, **fields: Any) -> None:
    file = copy / "mapping_file.json"
    mapping = json.loads(file.read_text())
    mapping["000000000001"] |= fields
    file.write_text(json.dumps(mapping))


def test_the_copy_is_read_as_its_evaluator_reads_it(copy: Path) -> None:
    first, second = examples(copy)[:2]
    assert (first.prompt, first.to, first.words, first.type) == ("a cat on a mat", "a dog on a mat", ("cat", "dog"), "change_object")
    assert second.words == ()
    assert first.image().shape == (512, 512, 3)
    mask = first.mask()
    assert mask.shape == (512, 512)
    assert mask.sum() == 200 * 256 + 4 * 511
    small = first.mask(SIDE)
    assert small[0].all()
    assert small[20, 20]
    assert not small[5, 5]
    assert [each.type for each in examples(copy, limit=1)] == ["change_object", "change_colour", "change_background"]
    assert [each.id for each in examples(copy, ("change_colour",))] == ["000000000002"]


def test_figures_of_all_and_of_each_type(copy: Path, tmp_path: Path) -> None:
    editor = Scripted(inverted)
    result = bench(copy, tmp_path / "out").run("swap", {"name": "swap"}, editor, clock)
    assert (result.n, result.failed) == (4, {})
    assert [request.words for request in editor.asked] == [("cat", "dog"), (), ("cat", "dog"), ()]
    assert {"psnr", "psnr_masked", "clip", "clip_edited", "change_object/psnr", "change_background/ssim"} <= result.scores.keys()
    assert result.scores["change_object/n"]["value"] == 2
    assert result.scores["psnr"]["value"] > result.scores["psnr_masked"]["value"]
    assert result.scores["reconstruction_psnr"]["value"] is None
    assert result.remarks == ["reconstruction_psnr is unbounded for 4 of 4 edits (equal pixels), which its mean leaves out",
                              "no --structure was given, so its figures are left out", "no --lpips was given, so its figures are left out"]
    stored = json.loads((tmp_path / "out/swap.json").read_text())
    assert {"config", "versions", "revision", "n", "failed", "settings"} <= stored.keys()
    table = (tmp_path / "out/swap.md").read_text()
    assert "| change_object (2) |" in table
    assert "LPIPS" not in table
    row = json.loads((tmp_path / "out/swap.rows.jsonl").read_text().splitlines()[0])
    assert (tmp_path / "out/swap" / row["files"]["maps"]["dog"]).is_file()


def test_nothing_is_done_twice(copy: Path, tmp_path: Path) -> None:
    def killed(request: Request) -> Made:
        if len(editor.asked) > 2:
            raise KeyboardInterrupt
        return inverted(request)

    editor = Scripted(killed)
    with pytest.raises(KeyboardInterrupt):
        bench(copy, tmp_path / "part").run("swap", {}, editor, clock)
    again = Scripted(inverted)
    bench(copy, tmp_path / "part").run("swap", {}, again, clock)
    assert len(again.asked) == 2
    bench(copy, tmp_path / "whole").run("swap", {}, Scripted(inverted), clock)
    for name in ("swap.json", "swap.rows.jsonl", "swap.md", "swap/edits.jsonl"):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_edits_of_another_caption_are_not_taken(copy: Path, tmp_path: Path) -> None:
    bench(copy, tmp_path / "out").run("swap", {}, Scripted(inverted), clock)
    edit_mapping(copy, editing_prompt="a bear on a mat")
    with pytest.raises(Mismatch, match=r"items was '4 items, .*' and is '4 items"):
        bench(copy, tmp_path / "out").run("swap", {}, Scripted(inverted), clock)


def test_a_broken_picture_stops_or_is_counted(copy: Path, tmp_path: Path) -> None:
    (copy / "annotation_images/0/001.png").write_bytes(b"nonsense")
    (copy / "annotation_images/0/002.png").unlink()
    editor = Scripted(inverted)
    with pytest.raises(ValueError, match=r"item 000000000001: .*001.png .* 2 of 4 pictures cannot be used"):
        bench(copy, tmp_path / "out").run("swap", {}, editor, clock)
    assert not editor.asked
    result = bench(copy, tmp_path / "out", on_error="skip", batch_size=4).run("swap", {}, editor, clock)
    assert (result.n, list(result.failed)) == (2, ["000000000001", "000000000002"])
    assert "2 of 4 edits failed" in result.remarks[0]
    Image.new("RGB", (64, 64)).save(copy / "annotation_images/0/002.png")
    assert bench(copy, tmp_path / "out", on_error="skip", batch_size=4).run("swap", {}, editor, clock).n == 3


def test_what_an_editor_refuses_is_named(copy: Path, tmp_path: Path) -> None:
    def refuse(request: Request) -> Made:
        raise ValueError("4 words and 5 words cannot be swapped")

    with pytest.raises(ValueError, match="item 000000000000: 4 words and 5 words"):
        bench(copy, tmp_path / "out").run("swap", {}, Scripted(refuse), clock)
    with pytest.raises(ValueError, match="none of 4 edits could be made"):
        bench(copy, tmp_path / "out", on_error="skip").run("swap", {}, Scripted(refuse), clock)


def test_an_edit_of_another_size_is_named(copy: Path, tmp_path: Path) -> None:
    small = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(ValueError, match="32 x 32 pixels and its original 64 x 64; give --side"):
        bench(copy, tmp_path / "out").run("swap", {}, Scripted(lambda request: Made(small, small, small)), clock)


def test_a_full_mask_has_no_outside(copy: Path, tmp_path: Path) -> None:
    edit_mapping(copy, mask=[0, 512 * 512])
    result = bench(copy, tmp_path / "out").run("swap", {}, Scripted(inverted), clock)
    assert result.scores["psnr"]["n"] == result.scores["ssim_masked"]["n"] == 3
    assert result.scores["clip_edited"]["n"] == 4


@pytest.mark.parametrize(("fields", "said"), [
    ({"mask": [1, 2, 3]}, "item 000000000001: mask .* even number"),
    ({"mask": None}, "item 000000000001: mask"),
    ({"editing_type_id": "10"}, "editing_type_id is 0 to 9; got '10'"),
    ({"editing_prompt": "[]"}, "its editing_prompt is empty"),
    ({"blended_word": "cat"}, "blended_word is empty or a word of each caption"),
], ids=["odd", "none", "type", "prompt", "words"])
def test_an_item_outside_the_layout_is_named(copy: Path, fields: dict[str, Any], said: str) -> None:
    edit_mapping(copy, **fields)
    with pytest.raises(ValueError, match=said):
        examples(copy)


def test_a_folder_that_is_no_copy_is_named(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(ValueError, match="the folder that holds mapping_file"):
        examples(tmp_path / "empty")
    (copy / "mapping_file.json").write_text('{"1": {"image_path": "x"}}')
    with pytest.raises(ValueError, match="item 1 lacks original_prompt, editing_prompt"):
        examples(copy)
    (copy / "mapping_file.json").write_text("{}")
    with pytest.raises(ValueError, match="holds nothing"):
        examples(copy)
    with pytest.raises(ValueError, match="got style"):
        examples(copy, ("style",))


def test_pictures_are_square(copy: Path) -> None:
    wide = copy / "annotation_images/0/000.png"
    Image.new("RGB", (80, 64)).save(wide)
    first = examples(copy)[0]
    with pytest.raises(ValueError, match="80 x 64 pixels; pictures of PIE-Bench are square"):
        first.image(SIDE)
