"""Contrast decoding against numbers of the original implementations (tests/golden/reweight)."""
import torch

from mm.decoding import VCD
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
