"""CARVE's map, mask and box against numbers of the original implementation (tests/golden/reweight)."""
from typing import Any

import numpy as np
import pytest
import torch

from mm.decoding.carve import enlarged, fused, mask_of
from mm.decoding.regions import Largest, MostAttended, NotTiny, Regions, box
from tests.golden import load


def scores(golden: Any, lam: float, steps: int | None) -> np.ndarray:
    asked, general = (maps[:, golden.layers].double() for maps in (golden.query_maps, golden.general_maps))
    width, height = golden.image_wh.tolist()
    return enlarged(fused(asked[:steps], general, lam).view(*golden.grid.tolist()).numpy(), height, width)


@pytest.mark.parametrize(("lam", "steps", "wanted"), [("lam_all", None, "fused_all"), ("lam_first", 1, "fused_first")], ids=["all", "first"])
def test_the_map_on_the_picture(lam: str, steps: int | None, wanted: str) -> None:
    golden = load("reweight", "carve")
    found = torch.from_numpy(scores(golden, float(getattr(golden, lam)), steps))
    torch.testing.assert_close(found, getattr(golden, wanted), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("regions", "wanted"), [
    (MostAttended(0.2, 3), "mask_attention_sum"), (Largest(1), "mask_size_keep1"), (NotTiny(0.1), "mask_remove_small10")],
    ids=["attended", "largest", "not-tiny"])
def test_the_regions_that_stay_and_the_box_around_them(regions: Regions, wanted: str) -> None:
    golden = load("reweight", "carve")
    mask = mask_of(scores(golden, float(golden.lam_all), None), 0.2, regions)
    assert np.array_equal(mask, getattr(golden, wanted).bool().numpy())
    if wanted == "mask_attention_sum":
        assert list(box(mask)) == golden.bbox.tolist()
