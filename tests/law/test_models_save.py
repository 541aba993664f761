"""A saved model is whole, strict to read and never executed."""
import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mm.masks import ImageBlock
from mm.models import VLM, Branches, save
from mm.positions import Restart
from tests.vlms import about, toy


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    toy(mask=ImageBlock(), positions=Restart(), layout=Branches()).save(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3_text"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_a_loaded_model_is_the_saved_one_to_the_bit(tmp_path: Path, family: str, tied: bool) -> None:
    vlm = toy(family, config={"tie_word_embeddings": tied}, mask=ImageBlock(), positions=Restart(), layout=Branches())
    vlm.save(tmp_path / "model")
    loaded = VLM.load(tmp_path / "model")
    assert not loaded.training
    assert {name: value.tolist() for name, value in vlm.state_dict().items()} == {name: value.tolist() for name, value in loaded.state_dict().items()}
    assert loaded.generate([about(1)], max_new_tokens=5) == vlm.generate([about(1)], max_new_tokens=5)
    assert (type(loaded.mask), type(loaded.positions), type(loaded.layout), loaded.max_length) == (ImageBlock, Restart, Branches, 256)


def test_saving_a_loaded_model_changes_no_byte(saved: Path, tmp_path: Path) -> None:
    VLM.load(saved).save(tmp_path / "again")
    for name in ("config.json", "model.safetensors", "tokenizer/tokenizer.json", "tokenizer/chat_template.jinja"):
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes(), name


def test_a_run_directory_is_understood(saved: Path) -> None:
    assert VLM.load(saved.parent).generate([about(1)], max_new_tokens=2) == VLM.load(saved).generate([about(1)], max_new_tokens=2)


def test_a_folder_without_a_model_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no model in .*neither it nor its model/ holds config.json"):
        VLM.load(tmp_path)


def changed(saved: Path, **arguments: Any) -> None:
    config = json.loads((saved / "config.json").read_text())
    config["language"]["init_args"]["config"].update(arguments)
    (saved / "config.json").write_text(json.dumps(config))


def test_another_architecture_is_one_error_that_names_the_weights(saved: Path) -> None:
    changed(saved, num_hidden_layers=3, intermediate_size=40)
    with pytest.raises(ValueError, match="does not fit this architecture") as caught:
        VLM.load(saved)
    assert "9 missing: language.model.model.layers.2.self_attn.q_proj.weight" in str(caught.value)
    assert "misshapen: language.model.model.layers.0.mlp.gate_proj.weight is [48, 32] and should be [40, 32]" in str(caught.value)
    changed(saved, num_hidden_layers=1, intermediate_size=48)
    with pytest.raises(ValueError, match=r"9 unexpected: language.model.model.layers.1"):
        VLM.load(saved)


def test_a_misfit_changes_no_weight() -> None:
    vlm = toy()
    before = {name: value.clone() for name, value in vlm.state_dict().items()}
    weights = save.unique(toy(seed=1))
    weights.pop("projector.layers.0.bias")
    with pytest.raises(ValueError, match=r"1 missing: projector.layers.0.bias"):
        save.fill(vlm, weights, "here")
    assert all(torch.equal(value, before[name]) for name, value in vlm.state_dict().items())


def test_a_pickle_in_disguise_is_not_opened(saved: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (saved / "exploded",))

    for protocol in ({}, {"_use_new_zipfile_serialization": False}):
        torch.save({"w": Bomb()}, saved / "model.safetensors", **protocol)
        with pytest.raises(ValueError, match="looks like a pickle, which could run code and is not opened"):
            VLM.load(saved)
    assert not (saved / "exploded").exists()


def test_a_cut_off_file_is_named(saved: Path) -> None:
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model.safetensors is not a safetensors file: it is damaged or cut short"):
        VLM.load(saved)
    path.unlink()
    with pytest.raises(ValueError, match="is missing"):
        VLM.load(saved)


def test_a_configuration_may_not_name_foreign_code(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    config["mask"] = {"class_path": "os.getcwd", "init_args": {}}
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"os.getcwd is outside mm"):
        VLM.load(saved)


def test_a_full_disk_leaves_the_previous_save_whole(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in saved.rglob("*.*")}

    def full(weights: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half a fi")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(save, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        toy(seed=1).save(saved)
    assert {path: path.read_bytes() for path in saved.rglob("*.*")} == before
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_files_are_moved_within_one_disk_where_the_folder_is_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[Path] = []
    replace = save.os.replace
    monkeypatch.setattr(save.os, "replace", lambda source, place: (moved.extend((Path(source), Path(place))), replace(source, place)))
    (tmp_path / "disk" / "model").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "model")
    toy().save(tmp_path / "link")
    assert moved
    assert all(path.is_relative_to(tmp_path / "disk") for path in moved)


def test_a_model_may_be_saved_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path / "model")
    vlm = toy()
    vlm.save(".")
    assert torch.equal(VLM.load(".").next_token_logits([about(0)]), vlm.next_token_logits([about(0)]))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
