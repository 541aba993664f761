"""Adapters that PEFT saved: merged, a model computes what PEFT's own computes; one that belongs to another model is refused by name."""
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM, PreTrainedModel

import mm
from mm.language.seam import NAME
from mm.masks import ImageBlock
from mm.models.lora import merge
from tests.families import FAMILIES
from tests.vlms import about, toy

PROMPTS = ["Iqq", "IIq"]


def adapter(model: PreTrainedModel, path: Path, targets: Any, **settings: Any) -> Any:
    """PEFT's own model with random factors, saved."""
    torch.manual_seed(1)
    config = LoraConfig(r=2, lora_alpha=8, target_modules=targets, init_lora_weights=False, **settings)
    adapted = get_peft_model(deepcopy(model), config).eval()  # type: ignore[arg-type]
    adapted.save_pretrained(str(path))
    return adapted


def logits(model: Any, name: str) -> torch.Tensor:
    with torch.no_grad():
        return model(**FAMILIES[name].inputs(PROMPTS)).logits


@pytest.mark.parametrize("name", list(FAMILIES))
@pytest.mark.parametrize("settings", [{}, {"use_dora": True}, {"use_rslora": True}], ids=["lora", "dora", "rslora"])
def test_a_merged_model_computes_what_pefts_does(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    model = FAMILIES[name].model()
    adapted = adapter(model, tmp_path, r".*(language_model|text_model).*(q_proj|down_proj)", **settings)
    plain = logits(model, name)
    assert merge(model, tmp_path)["r"] == 2
    torch.testing.assert_close(logits(model, name), logits(adapted, name), rtol=0, atol=3e-4)
    assert (logits(model, name) - plain).abs().max() > 0.1
    with mm.steer(model, mask=ImageBlock()):
        assert (logits(model, name) - plain).abs().max() > 0.1


@pytest.mark.parametrize("prefix", ["", "language_model."], ids=["alone", "older-names"])
def test_an_adapter_of_the_language_model_fits_the_whole(prefix: str, tmp_path: Path) -> None:
    model = FAMILIES["llava"].model()
    alone = LlamaForCausalLM(model.config.text_config).eval()
    alone.model.load_state_dict(model.model.language_model.state_dict())  # type: ignore[operator, union-attr]
    alone.lm_head.load_state_dict(model.lm_head.state_dict())  # type: ignore[operator, union-attr]
    adapted = adapter(alone, tmp_path, ["q_proj", "lm_head"], task_type="CAUSAL_LM")
    path = tmp_path / "adapter_model.safetensors"
    save_file({name.replace("base_model.model.", f"base_model.model.{prefix}"): value for name, value in load_file(path).items()}, path)
    tower = deepcopy(model.model.vision_tower.state_dict())  # type: ignore[operator, union-attr]
    merge(model, tmp_path)
    ids = torch.tensor([[1, 30, 40, 50]])
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=ids).logits, adapted(input_ids=ids).logits, rtol=0, atol=3e-4)
    assert all(torch.equal(value, tower[name]) for name, value in model.model.vision_tower.state_dict().items())  # type: ignore[operator, union-attr]


def test_an_assembled_model_stays_on_the_seam(tmp_path: Path) -> None:
    vlm = toy()
    adapted = adapter(vlm.language.model, tmp_path, ["q_proj", "v_proj"], task_type="CAUSAL_LM")
    merge(vlm.language.model, tmp_path)
    assert vlm.language.config._attn_implementation == NAME
    found = vlm.next_token_logits([about(0)])
    state = {name.replace(".base_layer", ""): value for name, value in adapted.merge_and_unload().state_dict().items()}
    other = toy()
    other.language.model.load_state_dict(state)
    torch.testing.assert_close(found, other.next_token_logits([about(0)]), rtol=0, atol=1e-5)
    assert (found - toy().next_token_logits([about(0)])).abs().max() > 0.01


def broken(path: Path, change: str) -> None:
    config, weights = path / "adapter_config.json", path / "adapter_model.safetensors"
    if change == "method":
        config.write_text(json.dumps(json.loads(config.read_text()) | {"peft_type": "PROMPT_TUNING"}))
    elif change == "pickle":
        weights.rename(path / "adapter_model.bin")
    elif change == "cut":
        weights.write_bytes(weights.read_bytes()[:100])
    elif change == "config":
        config.unlink()
    elif change == "factors":
        kept = {name: value for name, value in load_file(weights).items() if "layers.1" not in name}
        save_file(kept, weights)


@pytest.mark.parametrize(("change", "said"), [
    ("method", "PROMPT_TUNING, and only LORA"), ("pickle", "from safetensors only"), ("cut", "damaged"), ("config", "no adapter in"),
    ("factors", "does not hold weights for all modules")])
def test_an_adapter_that_cannot_be_merged_is_one_clear_error(change: str, said: str, tmp_path: Path) -> None:
    model = FAMILIES["llava"].model()
    adapter(model, tmp_path, r".*language_model.*q_proj")
    broken(tmp_path, change)
    before = deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=said):
        merge(model, tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_an_adapter_of_another_base_names_what_does_not_fit(tmp_path: Path) -> None:
    llava = FAMILIES["llava"].model()
    llava.name_or_path = "hub/llava-toy"
    adapter(llava, tmp_path / "modules", r".*vision_tower.*q_proj")
    with pytest.raises(ValueError, match=r"2 modules are not there: .*vision_tower.*trained on hub/llava-toy") as error:
        merge(FAMILIES["internvl"].model(), tmp_path / "modules")
    assert "\n" not in str(error.value)
    adapter(llava, tmp_path / "shapes", r".*language_model.*v_proj")
    with pytest.raises(ValueError, match=r"2 have another shape: .*v_proj is \[8, 32\] and lora_B \[16, 2\]"):
        merge(FAMILIES["paligemma"].model(), tmp_path / "shapes")


def test_whole_modules_that_were_trained_beside_are_replaced(tmp_path: Path) -> None:
    model = FAMILIES["llava"].model()
    adapter(model, tmp_path, r".*language_model.*q_proj", modules_to_save=["multi_modal_projector"])
    path = tmp_path / "adapter_model.safetensors"
    save_file({name: value + 1 if "projector" in name else value for name, value in load_file(path).items()}, path)
    before = deepcopy(model.model.multi_modal_projector.state_dict())  # type: ignore[operator, union-attr]
    merge(model, tmp_path)
    after = model.model.multi_modal_projector.state_dict()  # type: ignore[operator, union-attr]
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name] + 1) for name in before)
