"""A pretrained vision-language model of transformers that reads samples, as a mm.VLM does."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel

from mm.models.generate import ended
from mm.models.picture_sets import under_sets
from mm.models.pretrained.listening import Listening, Tokens
from mm.models.pretrained.load import check_kind, loaded_model, loaded_processor
from mm.models.pretrained.prompts import Prompt, Prompter
from mm.sample import BadSample, Sample, Turn


@dataclass(frozen=True, eq=False)
class Asked:
    """A sample's last question. begun: tokens that the answer begins with. watched: whole answers, as tokens, whose log-probability is wanted where
    the answer comes along them."""

    sample: Sample
    begun: Tokens = ()
    watched: tuple[Tokens, ...] = ()


class Said(NamedTuple):
    """ids: tokens of the answer behind what it was begun with, the one that ended it included. logp: of the watched answers that it went along to
    their ends."""

    ids: list[int]
    logp: dict[Tokens, float]


class PretrainedVLM:
    """model, processor: as `from_pretrained` of transformers' auto classes gives them, the tokenizer padding on the left.

    Answers are greedy. What lies beside the weights as a generation configuration (sampling, penalties) is not used, but for its end tokens.
    """

    def __init__(self, model: PreTrainedModel, processor: Any) -> None:
        self.model, self.processor, self.prompter = model, processor, Prompter(processor)
        self.stop_ids = self._stops()
        model.generation_config = GenerationConfig(eos_token_id=self.stop_ids, pad_token_id=processor.tokenizer.pad_token_id)

    @classmethod
    def load(cls, directory: str | Path, dtype: str | None = None, trust_remote_code: bool = False) -> "PretrainedVLM":
        """From a local directory. dtype: of the weights, as they were saved by default. trust_remote_code: run code that comes with the model.
        ValueError for anything but a vision-language model with its processor and weights in safetensors."""
        check_kind(Path(directory))
        processor = loaded_processor(Path(directory), trust_remote_code)
        return cls(loaded_model(Path(directory), dtype, trust_remote_code), processor)

    def to(self, device: str) -> "PretrainedVLM":
        self.model.to(device)  # type: ignore[arg-type]
        return self

    def inputs(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """What the processor makes of the samples' last questions, padded on the left, on the model's device. All have images or none has, and clips
        of the same lengths. BadSample for what it refuses."""
        prompts = [self.prompter.prompt(sample) for sample in samples]
        try:
            made = self._processed(prompts)
        except (ValueError, TypeError, RuntimeError) as error:
            raise BadSample(samples[0].id, f"{type(self.processor).__name__} refuses it, or one of the {len(samples)} samples of its batch: "
                                           f"{error}") from error
        made.pop("labels", None)  # PaliGemma's, of a prompt without an answer
        return dict(made.to(self.model.device, dtype=self.model.dtype))  # of integers the dtype stays

    def begin(self, sample: Sample, text: str) -> Tokens:
        """Tokens of an answer that is to go on."""
        return tuple(self.prompter.answer(sample, text)[0]) if text else ()

    def whole(self, sample: Sample, text: str) -> Tokens:
        """Tokens of a whole answer, the one that ends it included."""
        own, end = self.prompter.answer(sample, text)
        return (*own, end)

    @torch.no_grad()
    def say(self, asked: Sequence[Asked], max_new_tokens: int) -> list[Said]:
        """Greedy answers, decoded together; each is what it would be alone. max_new_tokens: behind what an answer was begun with."""
        found: dict[int, Said] = {}
        alike: dict[tuple[bool, tuple[int, ...]], list[int]] = {}  # what processors can put into one batch
        for place, each in enumerate(asked):
            clips = tuple(len(medium.frames) for medium in each.sample.media if medium.kind == "clip")
            alike.setdefault((len(clips) < len(each.sample.media), clips), []).append(place)
        for places in alike.values():
            found |= zip(places, self._decoded([asked[place] for place in places], max_new_tokens), strict=True)
        return [found[place] for place in range(len(asked))]

    def generate(self, samples: Sequence[Sample], max_new_tokens: int = 64) -> list[str]:
        """The greedy answers to the samples' last questions."""
        return self.text_of([said.ids for said in self.say([Asked(sample) for sample in samples], max_new_tokens)])

    def score(self, samples: Sequence[Sample], candidates: Sequence[str]) -> Tensor:
        """Log-probability of each candidate as the whole answer, its end included, float32 [B, candidates]."""
        rows = [(sample, self.whole(sample, candidate)) for sample in samples for candidate in candidates]
        said = self.say([Asked(sample, tokens, (tokens,)) for sample, tokens in rows], 0)
        return torch.tensor([each.logp[tokens] for each, (_, tokens) in zip(said, rows, strict=True)]).view(len(samples), len(candidates))

    def text_of(self, answers: Sequence[Sequence[int]]) -> list[str]:
        """The tokens of answers as text, without special ones."""
        return [text.strip() for text in self.processor.tokenizer.batch_decode(answers, skip_special_tokens=True)]

    def _decoded(self, asked: Sequence[Asked], max_new_tokens: int) -> list[Said]:
        inputs = self.inputs([each.sample for each in asked])
        start = inputs["input_ids"].shape[1]
        ear = Listening([each.begun for each in asked], [each.watched for each in asked], start)
        most = max(len(each.begun) for each in asked) + max_new_tokens
        with under_sets(self.model, inputs):
            ids = self.model.generate(  # type: ignore[operator]
                **inputs, logits_processor=LogitsProcessorList([ear]), max_new_tokens=most, do_sample=False, num_beams=1)
        return [Said(ended(answer[len(each.begun):][:max_new_tokens], self.stop_ids), ear.logp(row))
                for row, (each, answer) in enumerate(zip(asked, ids[:, start:].tolist(), strict=True))]

    def _processed(self, prompts: Sequence[Prompt]) -> Any:
        media: dict[str, Any] = {}
        if prompts[0].images:
            media["images"] = [prompt.images for prompt in prompts]
        if prompts[0].clips:
            media |= {"videos": [clip for prompt in prompts for clip in prompt.clips], "do_sample_frames": False,
                      "video_metadata": [each for prompt in prompts for each in prompt.timing]}
        begin = self.processor.tokenizer.bos_token
        written = begin is not None and all(prompt.text.startswith(begin) for prompt in prompts)  # by the template
        return self.processor(text=[prompt.text for prompt in prompts], **media, padding=True, return_tensors="pt", add_special_tokens=not written)

    def _stops(self) -> list[int]:
        """The end tokens that the model's configuration, its tokenizer and the chat template know."""
        of_model: Any = self.model.generation_config.eos_token_id if self.model.generation_config else None
        listed = of_model if isinstance(of_model, list) else [of_model]
        written = self.prompter.answer(Sample("", (), (Turn("a"),)), "a")[1]
        return sorted({int(id) for id in (*listed, self.processor.tokenizer.eos_token_id, written) if id is not None})
