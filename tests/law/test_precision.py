"""Arithmetic is what the processor is fast at, unless the user says otherwise."""
from pathlib import Path

import pytest
import torch
import yaml

from mm.training import precision
from mm.training.precision import FastestPrecision, fastest_dtype
from tests.training_runs import run


@pytest.mark.parametrize(("speeds", "fast"), [((2.0, 1.0), torch.bfloat16), ((1.0, 2.0), torch.float32)], ids=["bfloat16", "float32"])
def test_products_run_in_the_faster_dtype(monkeypatch: pytest.MonkeyPatch, speeds: tuple[float, float], fast: torch.dtype) -> None:
    monkeypatch.setattr(precision, "peak_flops", lambda device, dtype: speeds[dtype == torch.float32])
    fastest_dtype.cache_clear()
    try:
        chosen = FastestPrecision()
    finally:
        fastest_dtype.cache_clear()
    with chosen.forward_context():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == fast
    assert ("bf16" in str(chosen.precision)) == (fast == torch.bfloat16)


def test_measuring_the_processor_draws_nothing_from_the_run() -> None:
    fastest_dtype.cache_clear()
    before = torch.get_rng_state()
    fastest_dtype("cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_precision_that_is_asked_for_overrules_the_plugin(tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(yaml.safe_dump({"trainer": {"plugins": "mm.training.FastestPrecision"}}))
    losses = {}
    for asked in ("32-true", "bf16-mixed"):
        ended = run(tmp_path / asked, "--trainer.max_steps", "1", "--config", str(overlay), "--trainer.precision", asked)
        assert ended.code == 0, ended.text
        losses[asked] = ended.rows[0]["loss"]
    assert losses["32-true"] != losses["bf16-mixed"]
