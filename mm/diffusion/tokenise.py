"""Prompts as a pipeline's text encoders read them: which token stands at which key."""
import inspect
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from textwrap import shorten
from typing import Any

from mm.diffusion.compiled import uncompiled
from mm.diffusion.prompt import Prompt, Span

KNOWN = ("UNet2DConditionModel", "SD3Transformer2DModel", "FluxTransformer2DModel", "PixArtTransformer2DModel", "SanaTransformer2DModel",
         "QwenImageTransformer2DModel")
UNBOUNDED = 1 << 24  # transformers writes 10^30 where a tokeniser states no length


def tokenized(pipe: Any, texts: Sequence[str], max_sequence_length: int | None = None) -> list[Prompt]:
    """The prompts of one run of a diffusers pipeline, as its denoiser gets them: SD-1, SD-2, SDXL, SD3, PixArt, Sana, Flux and Qwen-Image.

    max_sequence_length: if the pipeline is called with it, the same here; by default what the pipeline's call has. ValueError for a prompt that is
    cut, with the words that would be lost, and for a denoiser whose text keys are not known here: build its prompts with `tokenized_by`.
    """
    denoiser = uncompiled(getattr(pipe, "transformer", None) or getattr(pipe, "unet", None))
    options = {name: parameter.default for name, parameter in inspect.signature(type(pipe).__call__).parameters.items()}
    length: Any = max_sequence_length or options.get("max_sequence_length")
    match next((base.__name__ for base in type(denoiser).__mro__ if base.__name__ in KNOWN), type(denoiser).__name__):
        case "UNet2DConditionModel":
            return _alike([_read(pipe, tokenizer, texts) for tokenizer in _clips(pipe)])
        case "SD3Transformer2DModel":
            clip = _alike([_read(pipe, tokenizer, texts, pipe.tokenizer_max_length) for tokenizer in _clips(pipe)])
            if pipe.text_encoder_3 is None:  # the pipeline gives zeros in its place
                return [replace(prompt, spans=(*prompt.spans, Span(prompt.keys, length, (), (), 0, 0))) for prompt in clip]
            return _beside(clip, tokenized_by(pipe.tokenizer_3, texts, length))
        case "FluxTransformer2DModel":  # its CLIP gives one vector for the whole prompt, and no keys
            return _read(pipe, pipe.tokenizer_2, texts, length)
        case "PixArtTransformer2DModel":
            read = tokenized_by(pipe.tokenizer, _cleaned(pipe, texts, bool(options.get("clean_caption"))), length)
            return [replace(prompt, text=text) for text, prompt in zip(texts, read, strict=True)]
        case "SanaTransformer2DModel":
            lead = "\n".join(options.get("complex_human_instruction") or ())
            cut = len(pipe.tokenizer.encode(lead)) - 1 if lead else 1  # of instruction and prompt, the start token and the end are kept
            return [Prompt(text, (_span(pipe.tokenizer, cleaned, length, lead=lead, kept=1, cut=cut),))
                    for text, cleaned in zip(texts, _cleaned(pipe, texts, bool(options.get("clean_caption"))), strict=True)]
        case "QwenImageTransformer2DModel":
            lead, tail = pipe.prompt_template_encode.split("{}")
            cut = pipe.prompt_template_encode_start_idx
            spans = [_span(pipe.tokenizer, text, length, lead=lead, tail=tail, cut=cut) for text in texts]
            longest = max(len(span.ids) for span in spans)  # padded to the longest of the batch
            return [Prompt(text, (replace(span, length=longest),)) for text, span in zip(texts, spans, strict=True)]
        case name:
            raise ValueError(f"{type(pipe).__name__} with {name}: where its text keys lie is not known; tokenise with tokenized_by and give "
                             "the prompts, or use SD-1, SD-2, SDXL, SD3, PixArt, Sana, Flux or Qwen-Image")


def tokenized_by(tokenizer: Any, texts: Sequence[str], length: int | None = None) -> list[Prompt]:
    """Prompts of one tokeniser of transformers. length: keys, padding included; the tokeniser's own by default."""
    length = tokenizer.model_max_length if length is None else length
    if length > UNBOUNDED:
        raise ValueError(f"{type(tokenizer).__name__} states no model_max_length; say to how many tokens the text encoder pads")
    return [Prompt(text, (_span(tokenizer, text, length),)) for text in texts]


def _span(tokenizer: Any, text: str, length: int, lead: str = "", tail: str = "", kept: int = 0, cut: int = 0) -> Span:
    """Of `lead + text + tail`, the first `kept` tokens and those from `cut` on; pieces of the text are as the text spells them."""
    whole, first, last = lead + text + tail, len(lead), len(lead) + len(text)
    read = tokenizer(whole, return_special_tokens_mask=True, padding=False, truncation=False, verbose=False,
                     return_offsets_mapping=bool(tokenizer.is_fast))
    if not tokenizer.is_fast and (lead or tail):
        raise ValueError(f"{type(tokenizer).__name__} cannot say where in the pipeline's template a token stands; load its fast version")
    places = read["offset_mapping"] if tokenizer.is_fast else [(0, last)] * len(read["input_ids"])
    tokens = [(id, special or end <= first or start >= last, start, end)
              for id, special, (start, end) in zip(read["input_ids"], read["special_tokens_mask"], places, strict=True)]
    tokens = tokens[:kept] + tokens[cut:]
    ids = tuple(id for id, *_ in tokens)
    body = [index for index, token in enumerate(tokens) if not token[1]]
    end = int(bool(ids) and ids[-1] == tokenizer.eos_token_id)
    before, after = (body[0], len(tokens) - body[-1] - 1) if body else (len(tokens) - end, end)
    pieces = [_decoded(tokenizer, id) for id in ids]
    if tokenizer.is_fast:
        starts = [max(token[2], first) for token in tokens[before:len(tokens) - after]]
        ends = [min(end, last) for *_, end in tokens[before:len(tokens) - after]]
        # of several tokens for one sign, the last has it whole: an empty piece belongs to what follows
        spelled = [whole[start:min(end, next)].strip() for (start, next), end in zip(pairwise([*starts, last]), ends, strict=True)]
        pieces[before:len(pieces) - after] = spelled
    if len(ids) > length:
        heard = sum(map(len, pieces[before:length - after]))
        raise ValueError(f"{shorten(text, 80)!r} has {len(ids)} tokens and the encoder behind {type(tokenizer).__name__} reads {length}: "
                         f"{shorten(_lost(text, heard), 200)!r} would be lost; shorten the prompt")
    return Span(0, length, ids, tuple(pieces), before, after)


def _decoded(tokenizer: Any, id: int) -> str:
    return str(tokenizer.decode([id])).strip().strip("▁Ġ").strip()


def _lost(text: str, heard: int) -> str:
    """Words of the text beyond its first `heard` letters, blanks not counted."""
    lost, ends = [], 0
    for word in text.split():
        ends += len(word)
        lost += [word] if ends > heard else []
    return " ".join(lost)


def _clips(pipe: Any) -> list[Any]:
    return [tokenizer for tokenizer in (pipe.tokenizer, getattr(pipe, "tokenizer_2", None)) if tokenizer is not None]


def _read(pipe: Any, tokenizer: Any, texts: Sequence[str], length: int | None = None) -> list[Prompt]:
    """With words of textual inversion written out as the pipeline does; their several tokens spell the one word."""
    added = getattr(tokenizer, "added_tokens_encoder", {})
    if not hasattr(pipe, "maybe_convert_prompt") or not any(f"{token}_1" in added for token in added):  # asked in vain, it warns of long prompts
        return tokenized_by(tokenizer, texts, length)
    prompts = tokenized_by(tokenizer, [pipe.maybe_convert_prompt(text, tokenizer) for text in texts], length)
    return [prompt if prompt.text == text else Prompt(text, tuple(replace(span, pieces=_joined(span.pieces)) for span in prompt.spans))
            for text, prompt in zip(texts, prompts, strict=True)]


def _joined(pieces: Sequence[str]) -> tuple[str, ...]:
    """`style`, `style_1`, `style_2` as nothing, nothing, `style`."""
    joined, base, count = list(pieces), "", 0
    for index, piece in enumerate(pieces):
        if index and piece == f"{base}_{count + 1}":
            joined[index - 1:index + 1] = ["", base]
            count += 1
        else:
            base, count = piece, 0
    return tuple(joined)


def _alike(readings: Sequence[list[Prompt]]) -> list[Prompt]:
    """One reading for encoders whose features lie side by side in one key."""
    for one, other in pairwise(readings):
        for left, right in zip(one, other, strict=True):
            if (left.spans[0].pieces[1:-1], left.keys) != (right.spans[0].pieces[1:-1], right.keys):
                raise ValueError(f"the two tokenisers of the pipeline cut {left.text!r} differently, {left.spans[0].pieces} in {left.keys} keys and "
                                 f"{right.spans[0].pieces} in {right.keys}, and share one key a token; load tokenisers that belong together")
    return readings[0]


def _beside(first: Sequence[Prompt], second: Sequence[Prompt]) -> list[Prompt]:
    return [Prompt(one.text, (*one.spans, *(replace(span, start=one.keys + span.start) for span in other.spans)))
            for one, other in zip(first, second, strict=True)]


def _cleaned(pipe: Any, texts: Sequence[str], clean_caption: bool) -> list[str]:
    """What the pipeline makes of the texts; in small letters, and ValueError where it rewrites words, which then could not be found."""
    cleaned = [str(text) for text in pipe._text_preprocessing(list(texts), clean_caption=clean_caption)]
    for text, clean in zip(texts, cleaned, strict=True):
        if clean.split() != text.lower().split():
            raise ValueError(f"{type(pipe).__name__} reads {text!r} as {clean!r}; write the prompt so")
    return cleaned
