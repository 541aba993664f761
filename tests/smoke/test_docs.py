"""What the pages print runs as printed: on a pretrained model's directory, a picture, and nothing else."""
import re
from pathlib import Path

import pytest

from tests.photos import paint
from tests.toy_directory import llava_directory, vlm_directory

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
PLACES = ("path/to/llava", "path/to/vlm")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader stands: what the pages name lies there."""
    home = tmp_path_factory.mktemp("home")
    llava_directory(home / "path/to/llava")
    vlm_directory(home / "path/to/vlm")
    paint(60, 40).save(home / "photo.png")
    return home


RECORDS = {"laboratory.md", "clips.md", "study.md"}  # pages of what was measured, without a block of Python


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def run(script: str, page: str) -> None:
    """In this process, as importing everything again would take most of the time, and with nothing but what the script says."""
    exec(compile(script, page, "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("page", [page for page in PAGES if page not in RECORDS])
def test_the_blocks_of_a_page_run_one_after_the_other(page: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "\n".join(blocks(ROOT / "docs" / page))
    assert script
    assert set(re.findall(r"path/to/\w+", script)) <= set(PLACES)
    monkeypatch.chdir(home)
    run(script, page)


def test_the_readme_s_script_on_a_pretrained_model_runs_as_printed(home: Path, monkeypatch: pytest.MonkeyPatch,
                                                                   capsys: pytest.CaptureFixture[str]) -> None:
    (script,) = [block for block in blocks(ROOT / "README.md") if "path/to/llava" in block]
    assert len([line for line in script.splitlines() if line.strip() and not line.startswith(("import", "from"))]) <= 10
    monkeypatch.chdir(home)
    run(script, "README.md")
    assert "Is there a star" in capsys.readouterr().out


@pytest.mark.parametrize("page", [*(f"docs/{name}" for name in PAGES), "README.md"])
def test_every_picture_and_page_that_is_linked_is_there(page: str) -> None:
    here = ROOT / page
    targets = re.findall(r"\]\(([^)#:]+)\)", here.read_text(encoding="utf-8"))
    assert [target for target in targets if not (here.parent / target).is_file()] == []


def test_pictures_are_small() -> None:
    pictures = [*(ROOT / "docs/levers").glob("*.png"), *(ROOT / "docs").glob("*.png")]
    assert pictures
    assert [path.name for path in pictures if path.stat().st_size > 150_000] == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/levers.md").read_text(encoding="utf-8")
    assert [page for page in PAGES if page != "levers.md" and f"]({page})" not in index] == []
