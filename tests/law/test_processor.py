"""Rows and batches: what each token is, what is labelled, and what is refused with a reason."""
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from mm.models import VLM, Branches, Dialogue, Row
from mm.models.batch import UNLABELLED
from mm.models.processor import pack
from mm.sample import BadSample, Media, Sample, Turn
from mm.tokens import Kind, Role
from tests.vlms import about, picture, text, toy

TURNS = (("is there a star ?", "yes"), ("what do you see ?", "a red ring ."))


@pytest.fixture(scope="module")
def branches() -> VLM:
    return toy(layout=Branches())


@pytest.fixture(scope="module")
def dialogue() -> VLM:
    return toy(layout=Dialogue())


def said(vlm: VLM, row: Row) -> str:
    return vlm.language.tokenizer.decode(row.input_ids[row.labels != UNLABELLED])


def shown(vlm: VLM, row: Row) -> list[str]:
    """The row's tokens, visual ones as v."""
    words = vlm.language.tokenizer.convert_ids_to_tokens(row.input_ids.tolist())
    return ["v" if kind == Kind.VISION else word for kind, word in zip(row.tables[0], words, strict=True)]


def test_a_dialogue_reads_as_the_template_writes_it(dialogue: VLM) -> None:
    row = dialogue.processor.encode(about(0, *TURNS))
    assert " ".join(shown(dialogue, row)) == ("<user> v v v v is there a star ? <assistant> yes <eos> "
                                              "<user> what do you see ? <assistant> a red ring . <eos>")
    assert said(dialogue, row) == "yes <eos> a red ring . <eos>"


def test_branches_share_the_picture_and_nothing_else(branches: VLM) -> None:
    row = branches.processor.encode(about(0, *TURNS))
    assert " ".join(shown(branches, row)) == "<user> v v v v is there a star ? <assistant> yes <eos> what do you see ? <assistant> a red ring . <eos>"
    assert row.tables[2].tolist() == [0] * 5 + [1] * 8 + [2] * 11
    assert said(branches, row) == "yes <eos> a red ring . <eos>"


def test_every_table_of_a_row_is_right(branches: VLM) -> None:
    batch = branches.processor.collate([branches.processor.encode(about(0, *TURNS)), branches.processor.encode(text())])
    tokens = batch.tokens
    assert tokens.row[0, :7].tolist() == [-1, 0, 0, 1, 1, -1, -1]
    assert tokens.col[0, :7].tolist() == [-1, 0, 1, 0, 1, -1, -1]
    assert tokens.frame[0, :7].tolist() == tokens.media[0, :7].tolist() == [-1, 0, 0, 0, 0, -1, -1]
    assert tokens.role[0, :13].tolist() == [Role.SYSTEM] + [Role.QUESTION] * 10 + [Role.ANSWER] * 2
    assert tokens.turn[0].tolist() == [-1] + [0] * 12 + [1] * 11
    assert tokens.position[0].tolist() == list(range(24))
    assert tokens.kind[1].tolist() == [Kind.TEXT] * 9 + [Kind.PAD] * 15
    assert set(tokens.document[1].tolist()) == {0, -1}
    assert tokens.index[1].tolist() == list(range(24))
    assert batch.vision_at.tolist() == [1, 2, 3, 4]


def test_the_row_before_a_label_predicts_it(branches: VLM) -> None:
    batch = branches.processor.collate([branches.processor.encode(about(0, *TURNS)), branches.processor.encode(text())])
    tokenizer = branches.language.tokenizer
    assert tokenizer.decode(batch.targets) == "yes <eos> a red ring . <eos> no . <eos>"
    before = tokenizer.convert_ids_to_tokens(batch.input_ids.flatten()[batch.predict_at].tolist())
    assert before == ["<assistant>", "yes", "<assistant>", "a", "red", "ring", ".", "<assistant>", "no", "."]
    assert bool((batch.tokens.branch.flatten()[batch.predict_at] == batch.tokens.branch.flatten()[batch.predict_at + 1]).all())


def test_a_turns_weight_is_that_of_its_labels(branches: VLM) -> None:
    sample = about(0, *TURNS)
    batch = branches.processor.collate([branches.processor.encode(replace(sample, turns=(sample.turns[0], replace(sample.turns[1], weight=0.5))))])
    assert batch.target_weights.tolist() == [1.0] * 2 + [0.5] * 5


@pytest.mark.parametrize("name", ["branches", "dialogue"])
def test_a_prompt_is_the_beginning_of_its_training_row(name: str, request: pytest.FixtureRequest) -> None:
    processor = request.getfixturevalue(name).processor
    sample = about(0, *TURNS)
    for turn, prompt in enumerate(processor.prompts(sample)):
        row = processor.encode(processor.layout.alone(sample, turn))
        assert row.input_ids[:len(prompt)].tolist() == prompt.input_ids.tolist()
        assert row.labels[len(prompt)] != UNLABELLED
        assert bool((prompt.labels == UNLABELLED).all())
        assert np.array_equal(row.tables[:, :len(prompt)], prompt.tables)


def test_left_padding_moves_everything_to_the_right(branches: VLM) -> None:
    rows = [branches.processor.prompt(about(0)), branches.processor.prompt(text())]
    batch = branches.processor.collate(rows, left=True)
    assert batch.tokens.is_real.tolist() == [[True] * 12, [False] * 6 + [True] * 6]
    assert batch.tokens.position[1].tolist() == [0] * 6 + list(range(6))


def test_frames_of_a_clip_are_numbered(dialogue: VLM) -> None:
    sample = Sample("clip", (picture(0, frames=2), picture(1)), (Turn("<video> and <image> what ?", "no"),))
    row = dialogue.processor.encode(sample)
    vision = row.tables[0] == Kind.VISION
    assert row.tables[3][vision].tolist() == [0] * 8 + [1] * 4
    assert row.tables[4][vision].tolist() == [0] * 4 + [1] * 4 + [0] * 4
    assert row.pixels.shape == (3, 3, 16, 16)


def test_a_system_prompt_has_its_own_role(dialogue: VLM) -> None:
    row = dialogue.processor.encode(replace(about(0), system="you see ."))
    assert shown(dialogue, row)[:4] == ["you", "see", ".", "<user>"]
    assert row.tables[7][:5].tolist() == [Role.SYSTEM] * 4 + [Role.QUESTION]


def test_packing_numbers_documents(branches: VLM) -> None:
    rows = [branches.processor.encode(about(0)), pack([branches.processor.encode(text()), branches.processor.encode(about(1))])]
    packed = pack(rows)
    assert list(dict.fromkeys(packed.tables[1].tolist())) == [0, 1, 2]
    assert packed.pixels.shape[0] == 2
    assert rows[1].tables[1].max() == 1


def test_pictures_of_any_size_fit(dialogue: VLM) -> None:
    for size in ((1, 1), (1, 400), (300, 7), (16, 16)):
        sample = replace(about(0), media=(picture(0, size=size),))
        assert dialogue.processor.encode(sample).pixels.shape == (1, 3, 16, 16)


def bad(question: str = "<image>what ?", media: tuple[Media, ...] = ()) -> Sample:
    return Sample("the culprit", media, (Turn(question, "no"),))


@pytest.mark.parametrize(("sample", "message"), [
    (bad(), r"its text has 1 <image> placeholder\(s\) and it comes with 0 image\(s\)"),
    (bad("<image><image>what ?", (picture(),)), r"2 <image> placeholder\(s\) and it comes with 1 image\(s\)"),
    (bad("what ?", (picture(),)), r"0 <image> placeholder\(s\) and it comes with 1 image\(s\)"),
    (bad("<video>what ?", (picture(),)), r"0 <image> placeholder\(s\) and it comes with 1 image\(s\)"),
    (bad("<image><video>what ?", (picture(frames=2), picture())), "ask for image, clip and its media are clip, image; put both in the same order"),
    (bad("what ? " * 200), "its row has 404 tokens, 0 of them visual, and the limit is 256"),
    (bad("<video>what ?", (picture(frames=80),)), "its row has 326 tokens, 320 of them visual, and the limit is 256"),
    (Sample("the culprit", (), ()), "it has no turns"),
    (bad("<image>what ?", (Media(np.zeros((1, 4, 4, 3), dtype=np.float32)),)), r"frames are uint8 \[T, H, W, 3\]"),
])
def test_what_does_not_fit_names_the_sample_and_the_counts(dialogue: VLM, sample: Sample, message: str) -> None:
    with pytest.raises(BadSample, match=f"sample 'the culprit': .*{message}"):
        dialogue.processor.encode(sample)


def test_branches_refuse_a_picture_that_is_not_shared(branches: VLM) -> None:
    sample = Sample("s", (picture(), picture(1)), (Turn("<image>what ?", "no"), Turn("<image>what ?", "yes")))
    with pytest.raises(BadSample, match="turn 2 has a placeholder that does not lead the first question"):
        branches.processor.encode(sample)


def test_a_batch_of_nothing_is_refused(branches: VLM) -> None:
    with pytest.raises(ValueError, match="at least one row"):
        branches.processor.collate([])


def test_a_processor_travels_to_workers(branches: VLM) -> None:
    there = pickle.loads(pickle.dumps(branches.processor))
    wanted, found = branches.processor.encode(about(0, *TURNS)), there.encode(about(0, *TURNS))
    assert np.array_equal(wanted.input_ids, found.input_ids)
    assert np.array_equal(wanted.tables, found.tables)


def test_a_batch_moves_whole(branches: VLM) -> None:
    batch = branches.processor.collate([branches.processor.encode(about(0))]).to("meta")
    assert batch.pixels.device.type == batch.tokens.kind.device.type == batch.predict_at.device.type == "meta"
    assert batch.ids == ("s0",)
    assert isinstance(batch.input_ids, torch.Tensor)
