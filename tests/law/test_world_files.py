"""The exported world is the generator's, to the last pixel; and the contact sheet."""
import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from data.world import Clips, Edits, Episodes, Scenes
from data.world.export import export, main
from data.world.sheet import main as draw_sheet
from data.world.view import View


@pytest.mark.parametrize("view", [Scenes("test", 4), Episodes("test", 3, control="shuffled"), Edits("test", 3)], ids=lambda view: view.kind)
def test_pictures_are_written_without_loss(view: View, tmp_path: Path) -> None:
    records = json.loads(export(view, tmp_path / "out").read_text())
    for i, record in enumerate(records):
        names = [record["image"]] if isinstance(record["image"], str) else record["image"]
        for name, media in zip(names, view[i].media, strict=True):
            assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / name)), media.frames[0])


def test_clips_are_written_without_loss(tmp_path: Path) -> None:
    view = Clips("test", 3)
    for i, record in enumerate(json.loads(export(view, tmp_path / "out").read_text())):
        with av.open(str(tmp_path / "out" / record["video"])) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert np.array_equal(np.stack(frames), view[i].media[0].frames)


def test_the_ground_truth_lies_beside_it(tmp_path: Path) -> None:
    view = Scenes("test", 3)
    export(view, tmp_path / "out")
    truth = json.loads((tmp_path / "out/truth.json").read_text())
    assert truth == json.loads(json.dumps([view.truth(i) for i in range(3)]))


def test_the_form_is_that_of_llava(tmp_path: Path) -> None:
    records = json.loads(export(Scenes("test", 2), tmp_path / "out").read_text())
    first = records[0]
    assert set(first) == {"id", "image", "conversations"}
    assert [message["from"] for message in first["conversations"][:2]] == ["human", "gpt"]
    assert first["conversations"][0]["value"].startswith("<image>\n")
    assert first["conversations"][1] | {"value": ""} == {"from": "gpt", "value": "", "weight": 0.5, "task": "caption"}


def test_an_export_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    assert main(["--size", "1", "--out", str(tmp_path)]) == 1
    assert "does not overwrite" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_an_interrupted_export_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    class Interrupted(Scenes):
        def truth(self, index: int) -> dict:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(Interrupted("test", 2), tmp_path / "out")
    assert not (tmp_path / "out/conversations.json").exists()


def test_the_contact_sheet_is_a_picture(tmp_path: Path) -> None:
    assert draw_sheet(["--out", str(tmp_path / "sheet.png")]) == 0
    pixels = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert pixels.shape[0] > 2000
    assert (pixels[-8:] == pixels[0, 0]).all()  # nothing was cut off below
