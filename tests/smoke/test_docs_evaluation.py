"""Every command that docs/evaluation.md prints runs as printed, on directories like those of its readers; torchrun's as a single process."""
import json
import re
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlavaForConditionalGeneration

from eval.__main__ import main
from eval.frame import same
from tests.toy_directory import llava_directory, vlm_directory

PAGE = (Path(__file__).parents[2] / "docs/evaluation.md").read_text(encoding="utf-8")
TORCHRUN = re.compile(r"torchrun --nproc-per-node \d+ -m eval ")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader stands who ran all of them in order."""
    home = tmp_path_factory.mktemp("home")
    vlm_directory(home / "path/to/vlm")
    model = LlavaForConditionalGeneration.from_pretrained(llava_directory(home / "path/to/llava"))
    torch.manual_seed(0)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=r".*language_model.*q_proj", init_lora_weights=False))
    adapted.save_pretrained(str(home / "path/to/adapter"))
    (lever,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    (home / "lever.yaml").write_text(lever)
    commands = [line for block in re.findall(r"^```bash\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL) for line in block.splitlines()]
    assert len(commands) >= 6
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for command in commands:
            program, _, given = TORCHRUN.sub("python -m eval ", command).removeprefix("python -m ").partition(" ")
            assert {"eval": main, "eval.frame.same": same.main}[program](given.split()) == 0, command
    return home


def test_the_commands_ran_and_each_asked_another_model(home: Path) -> None:
    results = {path.stem: json.loads(path.read_text()) for path in (home / "results/llava").glob("*.json")}
    assert set(results) == {"pope-limit3", "pope-adapter-limit3", "pope-lever-limit3"}
    assert len({(home / f"results/llava/{stem}.rows.jsonl").read_text() for stem in results}) == 3


def test_the_page_names_what_a_result_holds(home: Path) -> None:
    result = json.loads((home / "results/llava/pope-limit3.json").read_text())
    for name in (*(key for key in result if key != "benchmark"), *result["cost"]):
        assert f"`{name}`" in PAGE, name
