"""The Perceiver resampler against recorded outputs of OpenFlamingo."""
import json
from typing import Any

import pytest
import torch
from torch import Tensor

from mm.streams import Resampler
from tests.golden import close, load, weights

IN_BLOCK = {"0.norm_media": "norm_source", "0.norm_latents": "norm_latents", "0.to_q": "attention.query", "0.to_out": "attention.out", "1.0": "norm",
            "1.1": "up", "1.3": "down"}


def ours(case: Any) -> dict[str, Tensor]:
    """The recorded weights under our names; OpenFlamingo stacks the maps of keys and values."""
    stored = weights(case)
    found = {"queries": stored.pop("latents"), "norm.weight": stored.pop("norm.weight"), "norm.bias": stored.pop("norm.bias")}
    for theirs, name in (("frame_embs", "frame_embedding"), ("media_time_embs", "media_embedding")):
        if theirs in stored:
            found[name] = stored.pop(theirs).flatten(1)
    for name, value in stored.items():
        _, layer, inner = name.split(".", 2)
        if inner == "0.to_kv.weight":
            found[f"blocks.{layer}.attention.key.weight"], found[f"blocks.{layer}.attention.value.weight"] = value.chunk(2)
        else:
            place, kind = inner.rsplit(".", 1)
            found[f"blocks.{layer}.{IN_BLOCK[place]}.{kind}"] = value
    return found


@pytest.mark.parametrize("name", ["perceiver_plain", "perceiver_timed"])
def test_the_resampler_is_openflamingo_s(name: str) -> None:
    case = load("projectors", name)
    cfg = json.loads(case.cfg)
    projector = Resampler(16, 8, cfg["num_latents"], cfg["depth"], cfg["heads"], cfg["dim_head"], cfg["ff_mult"],
                          cfg.get("max_num_frames"), cfg.get("max_num_media")).eval()
    missing, unexpected = projector.load_state_dict(ours(case), strict=False)
    assert (sorted(missing), unexpected) == (["out.bias", "out.weight"], [])
    samples, media, frames, tokens, width = case.x.shape
    with torch.no_grad():
        found = projector.resampled(case.x.reshape(-1, tokens, width), [frames] * samples * media, list(range(media)) * samples)
    close(found.view_as(case.y), case.y)
