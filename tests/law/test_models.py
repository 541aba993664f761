"""The assembled model keeps the laws: neutral levers are the plain decoder, and neither padding, packing, branches nor batching change a number."""
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, GenerationConfig

from mm.masks import Causal, ContextBidirectional, ImageBlock, Mask, ModalityMutual
from mm.models import VLM, Batch, Branches, Dialogue, Output
from mm.models.processor import pack
from mm.positions import Positions, Restart, Sequential
from mm.sample import Sample, Turn
from mm.streams import MLP
from tests.levers import FEW, each
from tests.toys import FAMILIES
from tests.vlms import about, picture, text, toy

CLOSE: dict[str, float] = {"rtol": 0, "atol": 2e-5}
QUESTIONS = (("is there a red star ?", "yes"), ("what do you see ?", "a blue ring ."), ("is there a circle ?", "no"))


def read(vlm: VLM, *samples: Sample) -> Output:
    with torch.no_grad():
        return vlm(vlm.processor.collate([vlm.processor.encode(sample) for sample in samples]))


def stock(vlm: VLM) -> AutoModelForCausalLM:
    """The same decoder as transformers has it, on its own sdpa attention."""
    model = AutoModelForCausalLM.from_config(vlm.language.model.config, attn_implementation="sdpa").eval()
    model.load_state_dict(vlm.language.model.state_dict())
    return model


# --- law 1: the neutral lever is the plain model


@pytest.mark.parametrize("sample", [about(1, *QUESTIONS[:2]), text()], ids=["picture", "text"])
@pytest.mark.parametrize("family", FAMILIES)
def test_neutral_levers_are_the_stock_decoder_to_the_bit(family: str, sample: Sample) -> None:
    vlm = toy(family, mask=Causal(), positions=Sequential())
    model, row = stock(vlm), vlm.processor.encode(sample)
    batch = vlm.processor.collate([row])
    with torch.no_grad():
        wanted = model(inputs_embeds=vlm.embed(batch)).logits
        assert torch.equal(vlm.language.head(vlm.hidden(batch)), wanted)
        torch.testing.assert_close(vlm(batch).logits, wanted[0, batch.predict_at], rtol=0, atol=1e-6)  # a product of fewer rows rounds otherwise
        prompt = vlm.processor.collate([vlm.processor.prompt(sample)], left=True)
        ids = model.generate(inputs_embeds=vlm.embed(prompt), attention_mask=torch.ones_like(prompt.input_ids), generation_config=GenerationConfig(
            max_new_tokens=6, pad_token_id=0, eos_token_id=vlm.processor.stop_ids))
    assert vlm.generate([sample], max_new_tokens=6) == [vlm.language.tokenizer.decode(ids[0], skip_special_tokens=True)]


@pytest.mark.parametrize(("family", "settings"), [("granite", {"logits_scaling": 8.0}), ("cohere", {"logit_scale": 0.25}),
                                                  ("gemma3_text", {"final_logit_softcapping": 2.0})])
def test_the_head_scales_and_caps_as_its_family_does(family: str, settings: dict[str, float]) -> None:
    vlm = toy(family, config={"num_hidden_layers": 1, **settings})
    batch = vlm.processor.collate([vlm.processor.encode(about())])
    with torch.no_grad():
        wanted = stock(vlm)(inputs_embeds=vlm.embed(batch)).logits[0, batch.predict_at]
        torch.testing.assert_close(vlm(batch).logits, wanted, rtol=0, atol=1e-6)


# --- law 3: decoding goes on where the prefill ended


@pytest.mark.parametrize("layout", [Dialogue(), Branches()], ids=["dialogue", "branches"])
@pytest.mark.parametrize(("mask", "positions"), each(FEW))
def test_each_decoded_token_is_that_of_one_pass_over_the_whole(mask: Mask, positions: Positions, layout: Dialogue) -> None:
    vlm = toy(mask=mask, layout=layout, positions=positions)
    nameless = [id for id in vlm.language.tokenizer.all_special_ids if id < vlm.language.config.vocab_size]
    # Without tokens that decoding leaves out, the text says all that was decoded.
    vlm.language.model.lm_head.register_forward_hook(lambda head, args, out: out.index_fill(-1, torch.tensor(nameless), -1e9))
    sample = about(3)
    answer = vlm.generate([sample], max_new_tokens=6)[0]
    whole = read(vlm, replace(sample, turns=(replace(sample.turns[0], answer=answer),)))
    words = vlm.language.tokenizer.decode(whole.logits.argmax(-1)[:len(answer.split())])
    assert words == answer
    torch.testing.assert_close(vlm.next_token_logits([sample])[0], whole.logits[0], **CLOSE)


# --- law 4: company changes nothing


@pytest.mark.parametrize("family", FAMILIES)
def test_a_padded_batch_with_pictures_and_without_is_each_alone(family: str) -> None:
    vlm = toy(family, mask=ImageBlock())
    samples = [about(1, *QUESTIONS), text(), about(2)]
    alone = torch.cat([read(vlm, sample).logits for sample in samples])
    torch.testing.assert_close(read(vlm, *samples).logits, alone, **CLOSE)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("layout", [Dialogue(), Branches()], ids=["dialogue", "branches"])
def test_answers_of_a_batch_are_those_of_single_prompts(layout: Dialogue, beams: int) -> None:
    vlm = toy(mask=ImageBlock(), positions=Restart(), layout=layout)
    samples = [about(1, *QUESTIONS), text("what ?"), about(2)]
    together = vlm.generate(samples, max_new_tokens=5, num_beams=beams)
    assert together == [vlm.generate([sample], max_new_tokens=5, num_beams=beams)[0] for sample in samples]


@pytest.mark.parametrize(("mask", "positions"), each([pair for pair in FEW if pair[0].shares_image_prefix]))
def test_each_branch_is_worth_its_own_sample(mask: Mask, positions: Positions) -> None:
    vlm = toy(mask=mask, positions=positions, layout=Branches())
    sample = about(1, *QUESTIONS)
    alone = torch.cat([read(vlm, vlm.layout.alone(sample, turn)).logits for turn in range(3)])
    torch.testing.assert_close(read(vlm, sample).logits, alone, **CLOSE)


@pytest.mark.parametrize("layout", [Dialogue(), Branches()], ids=["dialogue", "branches"])
@pytest.mark.parametrize(("mask", "positions"), each(FEW))
def test_packed_samples_never_see_each_other(mask: Mask, positions: Positions, layout: Dialogue) -> None:
    vlm = toy(mask=mask, positions=positions, layout=layout)
    samples = [about(1, *QUESTIONS), text(), about(2)]
    packed = vlm.processor.collate([pack([vlm.processor.encode(sample) for sample in samples])])
    alone = torch.cat([read(vlm, sample).logits for sample in samples])
    with torch.no_grad():
        torch.testing.assert_close(vlm(packed).logits, alone, **CLOSE)


def test_the_second_sample_does_not_remember_the_first() -> None:
    vlm = toy(mask=ImageBlock())
    wanted, answer = read(vlm, about(2)).logits, vlm.generate([about(2)], max_new_tokens=4)
    read(vlm, about(1, *QUESTIONS))
    vlm.generate([about(1)], max_new_tokens=4, num_beams=2)
    assert torch.equal(read(vlm, about(2)).logits, wanted)
    assert vlm.generate([about(2)], max_new_tokens=4) == answer


# --- what masks are told about a sample


def test_an_image_reads_its_first_question_up_to_the_answer_and_no_further() -> None:
    for mask in (ModalityMutual(), ContextBidirectional()):
        vlm = toy(mask=mask)
        batch = vlm.processor.collate([vlm.processor.encode(replace(about(1, *QUESTIONS), system="do you see"))])
        image, first_label = batch.tokens.is_vision[0], int((batch.labels[0] != -100).nonzero()[0])
        seen = mask.dense(batch.tokens)[0, 0][image]
        assert seen[-1, :first_label].all()
        assert not seen[:, first_label:].any()


# --- what else an assembly owes


def test_a_clip_and_a_picture_share_a_batch() -> None:
    vlm = toy(layout=Dialogue())
    clip = Sample("clip", (picture(4, frames=3),), (Turn("<video>what do you see ?", "a star"),))
    both = read(vlm, clip, about(1)).logits
    torch.testing.assert_close(both, torch.cat([read(vlm, clip).logits, read(vlm, about(1)).logits]), **CLOSE)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_mlp_runs_at_the_rows_that_are_read_and_gradients_do_not_notice(family: str) -> None:
    vlm, sizes = toy(family, mask=ImageBlock()), list[int]()
    batch = vlm.processor.collate([vlm.processor.encode(about(1, *QUESTIONS)), vlm.processor.encode(text())])
    last = vlm.language.model.base_model.layers[-1].mlp.down_proj  # type: ignore[union-attr, index]
    watch = last.register_forward_hook(lambda module, args, out: sizes.append(out[..., 0].numel()))
    lean = torch.autograd.grad(vlm(batch).logits.logsumexp(-1).sum(), list(vlm.parameters()))
    hidden = vlm.hidden(batch).flatten(0, 1)[batch.predict_at]
    watch.remove()
    full = torch.autograd.grad(vlm.language.head(hidden).logsumexp(-1).sum(), list(vlm.parameters()))
    assert sizes == [len(batch.predict_at), batch.input_ids.numel()]
    for one, other in zip(lean, full, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def gradients(vlm: VLM, sample: Sample) -> list[Tensor]:
    out = vlm.train()(vlm.processor.collate([vlm.processor.encode(sample)]))
    cross_entropy(out.logits, out.targets).backward()
    return [parameter.grad for parameter in vlm.parameters() if parameter.grad is not None]


@pytest.mark.parametrize(("mask", "positions"), each(FEW))
def test_gradient_checkpointing_changes_no_gradient(mask: Mask, positions: Positions) -> None:
    settings = {"mask": mask, "layout": Branches(), "positions": positions}
    plain, checkpointed = toy(**settings), toy(gradient_checkpointing=True, **settings)
    assert checkpointed.language.model.is_gradient_checkpointing
    pairs = list(zip(gradients(plain, about(1, *QUESTIONS)), gradients(checkpointed, about(1, *QUESTIONS)), strict=True))
    assert len(pairs) > 20
    assert all(torch.equal(a, b) for a, b in pairs)


def test_two_passes_before_their_backward_passes_keep_their_rows_apart() -> None:
    vlm = toy(gradient_checkpointing=True).train()
    batches = [vlm.processor.collate([vlm.processor.encode(about(1, *turns))]) for turns in ((), (("what do you see ?", "a red star and a ring ."),))]
    weight = vlm.language.model.base_model.layers[0].mlp.down_proj.weight  # type: ignore[union-attr, index]

    def loss(batch: Batch) -> Tensor:
        out = vlm(batch)
        return cross_entropy(out.logits, out.targets)

    alone = [torch.autograd.grad(loss(batch), weight)[0] for batch in batches]
    for late, wanted in zip([loss(batch) for batch in batches], alone, strict=True):
        assert torch.equal(torch.autograd.grad(late, weight)[0], wanted)


def test_compiled_blocks_compute_the_same() -> None:
    vlm = toy()
    wanted = read(vlm, about(1)).logits
    blocks = vlm.language.model.base_model.layers
    for block in blocks:
        block.compile(backend="aot_eager")  # traces and lowers as the default does, without minutes of C++ in a test
    torch.testing.assert_close(read(vlm, about(1)).logits, wanted, **CLOSE)


def test_a_batch_without_labels_gives_no_logits_and_no_nan() -> None:
    vlm = toy()
    batch = vlm.processor.collate([vlm.processor.prompt(about(1)), vlm.processor.prompt(text())])
    out = vlm(batch)
    assert out.logits.shape == (0, vlm.language.config.vocab_size)
    (out.logits.sum() + 0).backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in vlm.parameters() if parameter.grad is not None)


def test_scores_are_probabilities_of_the_first_answer_token() -> None:
    vlm = toy()
    scores = vlm.score([about(1), text()], ["yes", "no"])
    logits = read(vlm, about(1)).logits[0].log_softmax(-1)
    torch.testing.assert_close(scores[0], logits[[vlm.processor.first_id("yes"), vlm.processor.first_id("no")]], **CLOSE)
    with pytest.raises(ValueError, match="does not tell them apart"):
        vlm.score([about(1)], ["a star", "a ring"])


def test_sampling_follows_its_seed_and_leaves_the_generators_alone() -> None:
    vlm = toy()
    state = torch.get_rng_state()
    drawn = [vlm.generate([about(1)], max_new_tokens=8, do_sample=True, temperature=3.0, seed=seed)[0] for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    assert drawn[0] == drawn[1] != drawn[2]


def test_generating_restores_the_training_mode() -> None:
    vlm = toy().train()
    vlm.vision.eval()
    vlm.generate([about(1)], max_new_tokens=1)
    assert vlm.training
    assert not vlm.vision.training
    assert vlm.language.model.training


def test_parts_that_do_not_fit_are_refused_with_both_widths() -> None:
    vlm = toy()
    with pytest.raises(ValueError, match=r"MLP.out_width is 8, and its neighbour has width 32"):
        VLM(vlm.vision, MLP(16, 8), vlm.language)
