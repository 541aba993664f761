"""Captioned pictures and what trains on them, part by part, without a run."""
import numpy as np
import pytest
import torch
from torch import nn

from data.world import Edits, World
from mm.diffusion import Even, FlowMatching
from mm.diffusion.denoisers import denoiser
from mm.diffusion.word_tokenizer import word_tokenizer
from mm.sample import BadSample, Media, Sample, Turn
from mm.training.average import Average
from mm.training.kind import names_its_class
from mm.training.pictures import CaptionedPictures, PictureBatch
from mm.training.text_to_image import TextToImage
from tests.drawing import WORDS, sd3

PICTURE = Media(np.zeros((1, 40, 20, 3), np.uint8))


def sample(*turns: Turn, media: tuple[Media, ...] = (PICTURE,)) -> Sample:
    return Sample("seven", media, turns)


def test_each_picture_comes_with_the_answer_of_the_turn_that_shows_it() -> None:
    edits = Edits(size=3, world=World(objects=(2, 2)), captions="relation")
    row = CaptionedPictures(64, 0.0).encode(edits[2])
    assert row.captions == edits.edit(2).captions
    assert np.array_equal(row.pixels.permute(0, 2, 3, 1).numpy(), np.stack(edits.edit(2).images))
    talk = sample(Turn("<image>\ndescribe", " a cat "), Turn("what colour ?", "red"))
    assert CaptionedPictures(8, 0.0).encode(talk).captions == ("a cat",)
    assert CaptionedPictures(8, 0.0).encode(talk).pixels.shape == (1, 3, 8, 8)


def test_chance_is_drawn_with_the_sample_and_dropped_captions_are_empty() -> None:
    row = sample(Turn("<image>", "a cat"))
    torch.manual_seed(3)
    first = CaptionedPictures(8).encode(row)
    torch.manual_seed(3)
    second = CaptionedPictures(8).encode(row)
    assert torch.equal(first.u, second.u)
    assert torch.equal(first.seeds, second.seeds)
    assert CaptionedPictures(8, 1.0).encode(row).captions == ("",)
    dropped = sum(CaptionedPictures(8, 0.1).encode(row).captions == ("",) for _ in range(300))
    assert 10 <= dropped <= 60


def test_noise_is_that_of_the_picture_however_it_is_batched() -> None:
    rows = [CaptionedPictures(8).encode(sample(Turn("<image>", "a cat"))) for _ in range(3)]
    together = CaptionedPictures(8).collate(rows).noise((2, 4, 4))
    assert torch.equal(together, torch.cat([row.noise((2, 4, 4)) for row in rows]))
    assert not torch.equal(rows[0].noise((2, 4, 4)), rows[0].noise((2, 4, 4), stream=1))


@pytest.mark.parametrize(("bad", "said"), [
    (sample(Turn("<image><image>", "two cats"), media=(PICTURE, PICTURE)), "one turn shows 2 pictures"),
    (sample(Turn("<image>", " ")), "an answer that describes it"),
    (sample(Turn("hello", "hello"), media=()), "found 0 pictures"),
    (sample(Turn("<video>", "a cat"), media=(Media(np.zeros((2, 8, 8, 3), np.uint8), "clip"),)), "holds a clip"),
], ids=["several at once", "no caption", "no picture", "clip"])
def test_what_is_no_captioned_picture_is_refused_by_name(bad: Sample, said: str) -> None:
    with pytest.raises(BadSample, match=said) as refused:
        CaptionedPictures(8).encode(bad)
    assert refused.value.id == "seven"


def test_an_average_forgets_its_beginning_and_is_lent_to_the_model() -> None:
    model, average = nn.Linear(1, 1, bias=False), Average(0.9)
    nn.init.zeros_(model.weight)
    average.start(model)
    expected = 0.0
    for step in range(1, 200):
        nn.init.constant_(model.weight, float(step))
        average.update(model, step)
        kept = min(0.9, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * step
    with average.used(model):
        assert model.weight.item() == pytest.approx(expected, rel=1e-5)
    assert model.weight.item() == 199.0


def test_a_flow_transformer_with_joint_attention_learns() -> None:
    pipeline, module = sd3(), TextToImage.__new__(TextToImage)
    nn.Module.__init__(module)
    module.denoiser, module.objective, module.weighting = denoiser(pipeline), FlowMatching(), Even()
    pixels = torch.randint(256, (4, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batch = PictureBatch(("a",), pixels, ("a red circle", "a blue square", "", "a cross"), torch.rand(4, dtype=torch.float64), torch.arange(4))
    optimizer = torch.optim.AdamW(pipeline.transformer.parameters(), 1e-2)
    losses = []
    for _ in range(12):
        loss = module.loss(batch)
        optimizer.zero_grad()
        (loss.total / loss.weight).backward()
        optimizer.step()
        losses.append((loss.total / loss.weight).item())
    assert losses[-1] < 0.9 * losses[0]
    assert pipeline.vae.encoder.conv_in.weight.grad is None


def test_every_word_is_one_token_whatever_the_other_words_are() -> None:
    words = [*WORDS, "re", "ed", "green", "een", "squares"]
    tokenizer = word_tokenizer(words, 9)
    assert [tokenizer.tokenize(word) for word in words] == [[f"{word}</w>"] for word in words]
    ids = tokenizer("a red circle", padding="max_length", truncation=True, max_length=9).input_ids
    assert len(ids) == tokenizer.model_max_length == 9
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a red circle"
    with pytest.raises(ValueError, match="lower case"):
        word_tokenizer(["red", "it's"], 9)


@pytest.mark.parametrize(("args", "named"), [
    (["fit", "--config", "configs/demo.yaml"], False),
    (["fit", "--config", "configs/edit/world.yaml"], True),
    (["fit", "--config=configs/edit/world.yaml"], True),
    (["fit", "--config", "configs/demo.yaml", "--model.mask", "mm.masks.Prefix"], False),
    (["fit", "--model", "mm.training.TextToImage"], True),
    (["fit", "--model.class_path", "mm.training.TextToImage"], True),
    (["fit", "--config", "no such file"], False),
    ({"subcommand": "fit", "fit": {"model": {"class_path": "mm.training.TextToImage"}}}, True),
    ({"subcommand": "fit", "fit": {"model": {"train": {}}}}, False),
], ids=str)
def test_a_model_that_names_its_class_is_seen_before_parsing(args: list[str] | dict[str, object], named: bool) -> None:
    assert names_its_class(args) is named
