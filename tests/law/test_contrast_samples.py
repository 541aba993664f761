"""Contrasts whose branches are other words or other pictures, on samples to pretrained models of every family."""
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mm.decoding import AGLA, ICD, VCD, Contrast, Looked
from mm.models.pretrained import PretrainedVLM
from mm.models.pretrained.prompt import PretrainedPrompt
from mm.sample import Media, Sample, Turn
from tests.processors import PROCESSORS, directory

CONTRASTS = (ICD(beta=0.0, disturbance="What do you see ?"), AGLA(beta=0.0, view=Looked(0.4)), VCD(beta=0.0, noise_step=900))


@pytest.fixture(scope="module", params=sorted(PROCESSORS))
def vlm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PretrainedVLM:
    return PretrainedVLM.load(directory(request.param, Path(tmp_path_factory.mktemp(request.param))))


def samples(pictures: int = 1) -> list[Sample]:
    rng = np.random.default_rng(0)
    shown = [tuple(Media(rng.integers(0, 256, (1, side, 12, 3), dtype=np.uint8)) for _ in range(pictures)) for side in (8, 20)]
    head = "<image>" * pictures + "\n"
    return [Sample("a", shown[0], (Turn(head + "Is there a star ?"),)), Sample("b", shown[1], (Turn(head + "Is there a ring in the picture ?"),))]


def test_branches_of_samples_in_batches_alone_and_beside_generate(vlm: PretrainedVLM) -> None:
    asked, ids = samples(), torch.tensor([61, 70])

    def read(contrast: Contrast, rows: list[int]) -> Tensor:
        continuation = contrast.continuation(PretrainedPrompt(vlm, [asked[row] for row in rows]))
        return torch.stack([continuation.begin(), continuation.step(ids[rows])], 1)

    prompt = PretrainedPrompt(vlm, asked)
    plain = prompt.continuation().begin().log_softmax(-1)
    for contrast in CONTRASTS:
        together = read(contrast, [0, 1])
        for row in range(2):
            torch.testing.assert_close(together[row:row + 1], read(contrast, [row]), atol=2e-3, rtol=1e-3)
        assert (together[:, 0].log_softmax(-1) - plain).abs().amax(-1).min() > 1e-3
        inputs = vlm.inputs(asked)
        found = vlm.model.generate(**inputs, max_new_tokens=3, do_sample=False, logits_processor=[contrast.processor(prompt)])  # type: ignore[operator]
        answers = [row[:row.index(vlm.stop_ids[0])] if vlm.stop_ids[0] in row else row for row in found[:, inputs["input_ids"].shape[1]:].tolist()]
        assert answers == contrast.decode(prompt, 3)


def test_several_pictures_and_clips_are_cut_each_by_its_own_map(vlm: PretrainedVLM) -> None:
    if vlm.prompter.has_template:
        branch = Looked(0.4)(PretrainedPrompt(vlm, samples(2)))
        assert isinstance(branch, PretrainedPrompt)
        for sample in branch.samples:
            shares = [float((medium.frames.sum(-1) > 0).mean()) for medium in sample.media]
            assert all(0.3 < share < 0.5 for share in shares), shares
    if getattr(vlm.processor, "video_processor", None) is not None:
        frames = np.random.default_rng(1).integers(1, 256, (4, 8, 8, 3), dtype=np.uint8)
        clip = Sample("c", (Media(frames, "clip", (0.0, 1.0, 2.0, 3.0)),), (Turn("<video>\nIs there a star ?"),))
        branch = Looked(0.4)(PretrainedPrompt(vlm, [clip]))
        assert isinstance(branch, PretrainedPrompt)
        left = (branch.samples[0].media[0].frames.sum(-1) > 0).mean((1, 2))
        assert np.all(np.abs(left - 0.4) < 0.1), left
