"""Every configuration that is shipped parses, builds and trains a step, at toy size."""
from pathlib import Path

import pytest
import yaml

from data.world import WORDS, Scenes
from data.world.export import export
from mm.parts import build
from tests.drawing import SMALL, pixart, sd3_folder
from tests.photos import write_photographs
from tests.training_runs import ROOT, TOY, run

CONFIGS = ROOT / "configs"
NOT_OF_TRAINING = {"eval", "cluster", "decoding", "recipe", "table"}  # folders
# Reading and learning are tried here, size is not: what makes a configuration large is made small.
SMALL_RUN = ("--data.batch_size", "2", "--data.workers", "0", "--model.max_length", "256", "--trainer.precision", "32-true")


def small_language(family: str) -> tuple[str, ...]:
    return ("--model.language", "mm.language.Fresh", "--model.language.tokenizer", "mm.language.WordLevel",
            "--model.language.tokenizer.words", str(list(WORDS)),
            "--model.language.config", f"{{model_type: {family}, hidden_size: 16, intermediate_size: 16, num_hidden_layers: 1, "
            "num_attention_heads: 2, num_key_value_heads: 1, head_dim: 8}")


def small_tower(family: str, side: int) -> tuple[str, ...]:
    """side: features on each side."""
    return ("--model.vision.name_or_config", f"{{model_type: {family}, hidden_size: 16, intermediate_size: 16, num_hidden_layers: 2, "
            f"num_attention_heads: 2, image_size: {4 * side}, patch_size: 4}}")


SMALLER = {
    "demo.yaml": ("--data.batch_size", "2", "--data.val.size", "2", "--model.vision.width", "16", "--model.vision.heads", "2"),
    "dinov3-qwen3.yaml": ("--model.vision.name", "test_vit.r160_in1k", "--model.vision.pretrained", "false", *SMALL_RUN, *small_language("qwen3")),
    "llava-1.5.yaml": (*small_tower("clip_vision_model", 8), *SMALL_RUN, *small_language("llama")),
    "llava-onevision.yaml": (*small_tower("siglip_vision_model", 9), *SMALL_RUN, *small_language("qwen2")),
    "smolvlm.yaml": (*small_tower("siglip_vision_model", 9), *SMALL_RUN, *small_language("llama")),
    **{f"video-ccam-{size}.yaml": (*small_tower("siglip_vision_model", 3), *small_language("llama"), "--model.projector.queries", "8")
       for size in ("4b", "9b", "14b")},
    "video-ccam-7b-v1.2.yaml": (*small_tower("siglip_vision_model", 3), *small_language("qwen2"), "--model.projector.queries", "8",
                                "--model.projector.width", "16", "--model.projector.intermediate", "16"),
    "crosslmm-2b.yaml": (*small_tower("siglip_vision_model", 9), *SMALL_RUN, *small_language("qwen2"), "--model.streams.every", "1"),
    "crosslmm-7b.yaml": (*small_tower("siglip_vision_model", 9), *SMALL_RUN, *small_language("qwen2"), "--model.streams.every", "1"),
    "flamingo-style.yaml": (*small_tower("clip_vision_model", 8), *SMALL_RUN, *small_language("qwen3"), "--model.streams.every", "1",
                            "--model.streams.reader.in_width", "16", "--model.streams.reader.out_width", "16"),
    "edit/world.yaml": SMALL,
    "edit/lora.yaml": ("--data.batch_size", "2"),
    "edit/custom.yaml": ("--data.batch_size", "2", "--data.workers", "0", "--data.val.size", "2", "--model.init_args.hidden", "16"),
    "crosslmm-align.yaml": ("--model.streams", "mm.streams.DualCrossAttention", "--model.streams.every", "2"),
    "crosslmm-tune.yaml": ("--model.streams", "mm.streams.DualCrossAttention", "--model.streams.every", "2"),
}


def shipped() -> list[Path]:
    found = (path for path in CONFIGS.rglob("*.yaml") if not NOT_OF_TRAINING & set(path.parts))
    return sorted(path for path in found if path.parent.name != "edit" or stands_alone(path))  # other files there are of edits, which train nothing


def stands_alone(path: Path) -> bool:
    content = yaml.safe_load(path.read_text())
    model = content.get("model", {})
    return "train" in content.get("data", {}) and ("class_path" in model or {"vision", "language"} <= model.keys())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(Scenes(size=40, questions=2), tmp_path_factory.mktemp("world") / "files")


@pytest.mark.parametrize("path", shipped(), ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_configuration_trains_a_step(path: Path, exported: Path, tmp_path: Path) -> None:
    options = ["--trainer.max_steps", "1", *SMALLER.get(path.name, ()), *SMALLER.get(f"{path.parent.name}/{path.name}", ())]
    if "reweight" in yaml.safe_load(path.read_text()).get("model", {}):  # published for deep models without dropout
        options += ["--model.language.config.num_hidden_layers", "4", "--model.language.config.attention_dropout", "0.0"]
    if path.name == "lora.yaml":
        options += ["--model.init_args.pipeline.init_args.path", str(sd3_folder(tmp_path / "sd3"))]
    if path.name == "custom.yaml":
        options += ["--model.init_args.pipeline.init_args.path", str(pixart(tmp_path / "pixart"))]
    if path.name in ("llava-json.yaml", "lora.yaml"):
        options += ["--data.train.file", str(exported)]
    ended = run(tmp_path / "run", *options, config=["fit", "--config", str(path)] if stands_alone(path) else [*TOY, "--config", str(path)])
    assert ended.code == 0, ended.text
    assert ended.rows[0]["loss"] > 0
    left = {"custom.yaml": "customiser/stream.safetensors"}.get(path.name, "pipeline/model_index.json") if path.parent.name == "edit" \
        else "model/model.safetensors"
    assert (tmp_path / "run" / left).exists()


@pytest.mark.parametrize(("name", "grid", "tokens"), [("llava-1.5", (24, 24), 576), ("llava-onevision", (27, 27), 197), ("smolvlm", (27, 27), 81)])
def test_a_published_recipe_makes_the_published_number_of_tokens(name: str, grid: tuple[int, int], tokens: int) -> None:
    part = yaml.safe_load((CONFIGS / "model" / f"{name}.yaml").read_text())["model"]["projector"]
    projector = build({**part, "init_args": {"in_width": 2, "out_width": 2, **part["init_args"]}})
    assert projector.num_tokens(grid) == tokens


@pytest.mark.parametrize("name", ["demo.yaml", "toy.yaml"])
def test_the_vocabulary_is_that_of_the_world(name: str) -> None:
    config = yaml.safe_load((CONFIGS / name).read_text())
    assert config["model"]["language"]["init_args"]["tokenizer"]["init_args"]["words"] == list(WORDS)


def test_ten_photographs_of_odd_sizes_and_modes_train_with_one_changed_line(tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    file = write_photographs(tmp_path / "photographs")
    ended = run(tmp_path / "run", "--trainer.max_steps", "5", "--config", "configs/llava-json.yaml", "--data.train.file", str(file))
    assert ended.code == 0, ended.text
    assert sorted(ended.ids) == sorted(map(str, range(10)))
    assert "skipped" not in ended.text


def test_training_on_exported_files_is_the_run_that_the_generator_gives(exported: Path, tmp_path: Path) -> None:
    generated = run(tmp_path / "generated", "--trainer.max_steps", "4")
    read = run(tmp_path / "read", "--trainer.max_steps", "4", "--data.train", "data.llava.Conversations", "--data.train.file", str(exported))
    assert read.code == 0, read.text
    assert read.ids == generated.ids
    assert [row["loss"] for row in read.rows] == [row["loss"] for row in generated.rows]
