"""A frozen encoder computes each frame once; what the cache gives is what the encoder gave, by whomever it was written and whatever befell it."""
import multiprocessing
import os
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from mm.models import VLM
from mm.sample import Sample, Turn
from mm.vision import ConvViT, FeatureCache
from tests.training_runs import run
from tests.vlms import picture, toy

FROZEN = ("--model.train", "{'projector': 1.0e-3, 'language.*': 1.0e-3}")


class Counting(ConvViT):
    """Counts the frames that it computes."""

    computed = 0

    def features(self, x: Tensor) -> Tensor:
        self.computed += len(x)
        return super().features(x)


def encoder(seed: int = 0, depth: int = 1) -> Counting:
    torch.manual_seed(seed)
    return Counting(image_size=16, width=16, depth=depth, heads=2).eval().requires_grad_(False)


def frames(*seeds: int) -> Tensor:
    return torch.cat([torch.from_numpy(picture(seed).frames).permute(0, 3, 1, 2) for seed in seeds])


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("??/*.safetensors"))


def test_each_frame_is_computed_once(tmp_path: Path) -> None:
    vision, plain = encoder(), encoder()
    vision.cache = FeatureCache(str(tmp_path))
    assert torch.equal(vision(frames(1, 2, 1)), plain(frames(1, 2))[[0, 1, 0]])
    assert vision.computed == 2
    assert torch.allclose(vision(frames(3, 2)), plain(frames(3, 2)), atol=1e-6)
    assert vision.computed == 3
    assert len(entries(tmp_path)) == 3
    other = encoder()
    other.cache = FeatureCache(str(tmp_path))  # another process, the same encoder
    assert torch.equal(other(frames(1, 2, 3)), vision(frames(1, 2, 3)))
    assert other.computed == 0


def test_features_of_further_layers_are_entries_of_their_own(tmp_path: Path) -> None:
    vision, plain = encoder(depth=2), encoder(depth=2)
    vision.cache = FeatureCache(str(tmp_path))
    for levels in ((), (-2,), (), (-2,)):
        assert torch.equal(vision(frames(1), levels), plain(frames(1), levels))
    assert len(entries(tmp_path)) == 2


def test_another_encoder_precision_or_frame_is_another_entry(tmp_path: Path) -> None:
    cache = FeatureCache(str(tmp_path))
    for vision in (encoder(0), encoder(1), encoder(0, depth=2), encoder(0).double()):
        expected = vision(frames(1))
        vision.cache, vision.computed = cache, 0
        assert torch.equal(vision(frames(1)), expected)
        assert vision.computed == 1
    vision = encoder(0)
    vision.cache = cache
    with torch.autocast("cpu", torch.bfloat16):
        vision(frames(1))
    assert vision.computed == 1
    changed = frames(1)
    changed[0, 0, 0, 0] ^= 1
    vision(changed)
    assert vision.computed == 2


def test_a_changed_weight_is_noticed(tmp_path: Path) -> None:
    vision = encoder()
    vision.cache = FeatureCache(str(tmp_path))
    before = vision(frames(1))
    with torch.no_grad():
        vision.positions.add_(1)
    assert not torch.equal(vision(frames(1)), before)
    vision.load_state_dict(encoder().state_dict())
    assert torch.equal(vision(frames(1)), before)
    assert vision.computed == 2
    assert vision.double()(frames(1)).dtype == torch.float64


@pytest.mark.parametrize("fault", ["cut", "flipped", "empty", "pickle", "other"])
def test_a_damaged_entry_is_computed_again_and_mended(fault: str, tmp_path: Path) -> None:
    vision = encoder()
    vision.cache = FeatureCache(str(tmp_path))
    expected = vision(frames(1))
    [entry] = entries(tmp_path)
    content = bytearray(entry.read_bytes())
    if fault == "flipped":
        content[-5] ^= 64
    entry.write_bytes({"cut": content[:-9], "empty": b"", "pickle": b"\x80\x04N."}.get(fault, bytes(content)))
    if fault == "other":
        save_file({"features": torch.zeros(4, 16)}, entry)  # whole, but not one of ours
    assert torch.equal(vision(frames(1)), expected)
    assert vision.computed == 2
    assert torch.equal(vision(frames(1)), expected)
    assert vision.computed == 2


def test_an_encoder_that_trains_is_refused(tmp_path: Path) -> None:
    vision = encoder().requires_grad_()
    vision.cache = FeatureCache(str(tmp_path))
    with pytest.raises(ValueError, match="Counting has parameters that train"):
        vision(frames(1))
    with torch.no_grad():
        vision(frames(1))
    with pytest.raises(ValueError, match="Counting is in training mode"):
        vision.requires_grad_(False).train()(frames(1))
    with pytest.raises(ValueError, match="max_gib"):
        FeatureCache(str(tmp_path), max_gib=0)


def test_the_folder_stays_within_its_bound_and_keeps_what_is_asked_for(tmp_path: Path) -> None:
    vision = encoder()
    vision.cache = FeatureCache(str(tmp_path))
    vision(frames(0))
    size = entries(tmp_path)[0].stat().st_size
    vision.cache = cache = FeatureCache(str(tmp_path), max_gib=10.5 * size / 2**30)
    for seed in range(1, 30):
        vision(frames(seed))
        for age, entry in enumerate(entries(tmp_path)):
            os.utime(entry, (1000 + age, 1000 + age))
        vision(frames(0))  # the only one that is not old
        assert len(entries(tmp_path)) <= 11
    computed = vision.computed
    vision(frames(0))
    assert vision.computed == computed
    cache.clear()
    assert entries(tmp_path) == []


def test_a_full_disk_costs_the_entry_and_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vision = encoder()
    vision.cache = FeatureCache(str(tmp_path))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(UserWarning, match="features are not cached in .*: No space left on device") as caught:
        found = vision(frames(1))
    assert len(caught) == 1
    assert torch.equal(found, encoder()(frames(1)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vision(frames(2))
    assert list(tmp_path.glob("??/*")) == []


def write_all(folder: str, seed: int) -> None:
    torch.set_num_threads(1)
    vision = encoder()
    vision.cache = FeatureCache(folder, max_gib=1e-5)
    for _ in range(3):
        for index in torch.randperm(12, generator=torch.Generator().manual_seed(seed)).tolist():
            vision(frames(index))


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    """With a bound that makes them remove each other's entries all the time."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=write_all, args=(str(tmp_path), seed)) for seed in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert list(tmp_path.glob("??/*.writing")) == []
    reader = encoder()
    reader.cache = FeatureCache(str(tmp_path))
    assert torch.allclose(reader(frames(*range(12))), encoder()(frames(*range(12))), atol=1e-6)
    assert reader.computed < 12


def test_a_model_answers_the_same_with_and_without(tmp_path: Path) -> None:
    vlm = toy().requires_grad_(False)
    clip = vlm.processor.encode(Sample("clip", (picture(frames=3),), (Turn("<video>what do you see ?", "a star"),)))
    batch = vlm.processor.collate([clip, clip])
    plain = vlm(batch).logits
    vlm.vision.cache = FeatureCache(str(tmp_path / "features"))
    for _ in range(2):
        assert torch.allclose(vlm(batch).logits, plain, atol=1e-5)
    assert len(entries(tmp_path / "features")) == 3
    vlm.save(tmp_path / "model")
    assert VLM.load(tmp_path / "model").vision.cache is None


def test_training_on_kept_features_is_training_without(tmp_path: Path) -> None:
    option = ("--model.feature_cache", "mm.vision.FeatureCache", "--model.feature_cache.folder", str(tmp_path / "features"))
    small = (*FROZEN, "--trainer.max_steps", "4", "--data.batch_size", "1", "--data.train.size", "3")
    runs = [run(tmp_path / name, *small, *more) for name, more in (("plain", ()), ("cold", option), ("warm", option))]
    assert [ended.code for ended in runs] == [0, 0, 0], runs[-1].text
    losses = [[row["loss"] for row in ended.rows] for ended in runs]
    assert losses[0] == losses[1] == losses[2]
    assert len(entries(tmp_path / "features")) == 3
    refused = run(tmp_path / "trains", "--trainer.max_steps", "1", *option)
    assert refused.code != 0
    assert "ConvViT has parameters that train" in refused.text


def test_pixels_in_half_precision_are_found_again(tmp_path: Path) -> None:
    """As a branch of VCD has them on a model in bfloat16."""
    vision, noised = encoder().bfloat16(), frames(1, 2).bfloat16() + 0.5
    plain = vision(noised)
    vision.cache = FeatureCache(str(tmp_path))
    assert torch.equal(vision(noised), plain)
    before = vision.computed
    assert torch.equal(vision(noised), plain)
    assert vision.computed == before
