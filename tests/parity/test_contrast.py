"""Contrast decoding against numbers of the original implementations (tests/golden/reweight)."""
import torch

from mm.decoding import VCD, PAIGuidance
from mm.decoding.vcd import diffused
from tests.golden import load


def test_vcd() -> None:
    golden = load("reweight", "vcd")
    vcd = VCD(float(golden.alpha), float(golden.beta))
    torch.testing.assert_close(vcd.logits(golden.logits, golden.logits_cd, 0), golden.out, atol=0, rtol=0)


def test_vcd_noise() -> None:
    golden = load("reweight", "vcd")
    noised = diffused(golden.image, golden.eps, int(golden.noise_step))
    torch.testing.assert_close(noised, golden.image_noised, atol=3e-7, rtol=0)  # the last bit of a product of 501 rates depends on the processor


def test_pai_guidance() -> None:
    golden = load("reweight", "pai_cfg_logits")
    guidance = PAIGuidance(float(golden.gamma), float(golden.plausibility))
    out = guidance.logits(golden.logits_image.double(), golden.logits_text.double(), 0)
    assert torch.equal(out.isneginf(), golden.out.isneginf())
    assert out.isneginf().any()
    torch.testing.assert_close(out, golden.out.double(), atol=1e-6, rtol=0)
    single = guidance.logits(golden.logits_image.float(), golden.logits_text.float(), 0)
    torch.testing.assert_close(single, golden.out.float(), atol=5e-6, rtol=0)
