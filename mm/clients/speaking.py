"""What a harness needs of either kind of model: answers decoded as it asked, and how likely given answers are."""
from collections.abc import Sequence
from pathlib import Path

import torch

from mm.clients.settings import Settings
from mm.decoding import Plain, Sampled, Stepwise, spoken
from mm.language.base import torch_dtype
from mm.levers import Pulled, under
from mm.models import VLM
from mm.models.lora import merge
from mm.models.pretrained import PretrainedVLM, is_pretrained
from mm.models.pretrained.prompt import PretrainedPrompt
from mm.models.prompt import Prompt
from mm.models.vlm_prompt import VLMPrompt
from mm.sample import Sample

Model = VLM | PretrainedVLM
Likely = tuple[float, bool]  # log-probability, and whether greedy decoding gives it


def load(run: str, device: str, dtype: str | None, lora: str | None) -> Model:
    """The model in a directory, with the adapter in another merged into it. dtype: of the weights, as they were saved by default."""
    home = Path(run)
    if is_pretrained(home):
        pretrained = PretrainedVLM.load(home, dtype)
        if lora is not None:
            merge(pretrained.model, Path(lora))
        return pretrained.to(device)
    vlm = VLM.load(home)
    if dtype is not None:
        vlm.to(torch_dtype(dtype))
    if lora is not None:
        merge(vlm.language.model, Path(lora))
    return vlm.to(device).eval()


def device_of(model: Model) -> torch.device:
    return model.model.device if isinstance(model, PretrainedVLM) else model.device


def generated(model: Model, levers: Pulled, samples: Sequence[Sample], settings: Settings, seed: int) -> list[str]:
    """The answers to the samples' last questions, decoded together. ValueError where the lever's way of decoding has a search of its own, and the
    settings ask for sampling."""
    choice = None if settings.temperature is None else Sampled(settings.temperature, seed)
    with torch.inference_mode(), under(model, levers):
        prompt = _prompt(model, samples)
        ids = (levers.decoding or Plain()).decode(prompt, settings.max_new_tokens, choice)
        return [prompt.decode(each) for each in ids]


def scored(model: Model, levers: Pulled, samples: Sequence[Sample], answers: Sequence[str]) -> list[Likely]:
    """Of each answer, its end left out; the empty one is certain. ValueError where the lever's way of decoding does not go token by token."""
    decoding = levers.decoding or Plain()
    if not isinstance(decoding, Stepwise):
        raise ValueError(f"{type(decoding).__name__} does not answer token by token, so nothing is likely under it; take decoding out of the lever")
    found = [(0.0, True)] * len(samples)
    with torch.inference_mode(), under(model, levers):
        own = {place: ids for place, answer in enumerate(answers) if (ids := _prompt(model, [samples[place]]).encode(answer)[:-1])}
        if own:
            places = [*own]
            prompt = _prompt(model, [samples[place] for place in places * 2])  # forced, and free to say what is likeliest
            said = spoken(decoding.continuation(prompt), prompt.stop_ids, max(map(len, own.values())), [*own.values(), *[None] * len(own)])
            for place, forced, free in zip(places, said[:len(own)], said[len(own):], strict=True):
                found[place] = (forced.logp, free.ids[:len(own[place])] == own[place])
    return found


def _prompt(model: Model, samples: Sequence[Sample]) -> Prompt:
    return PretrainedPrompt(model, samples) if isinstance(model, PretrainedVLM) else VLMPrompt(model, samples)
