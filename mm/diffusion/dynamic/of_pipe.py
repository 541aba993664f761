"""A picture's scene from a pipeline of diffusers, its prompt and its nouns."""
from collections.abc import Sequence
from typing import Any

from torch import nn

from mm.diffusion.denoiser import Denoiser
from mm.diffusion.dynamic.attention_reader import AttentionReader
from mm.diffusion.dynamic.learning import Scene
from mm.diffusion.dynamic.reader import Reader
from mm.diffusion.dynamic.tokens import DynamicTokens
from mm.diffusion.dynamic.wording import Wording
from mm.diffusion.inversion import Trajectory
from mm.diffusion.prompt import Span
from mm.diffusion.tokenise import tokenized
from mm.diffusion.words import keys_if_any, word_keys


def scene(model: Denoiser, trajectory: Trajectory, prompt: str, nouns: Sequence[str], targets: Sequence[str] = (), negative: str = "",
          reader: Reader | None = None) -> Scene:
    """model: `denoiser(pipe)`. trajectory: of one picture, inverted with `prompt`. nouns: words of the prompt. targets: prompts of an edit; the nouns
    that are in them as well read there as they are learned. reader: for 16 x 16 and 32 x 32 of 64 x 64 by default.

    ValueError for a noun that the prompt does not have, and for a pipeline whose text encoders are not known here.
    """
    read = tokenized(model.pipe, [prompt, *targets])
    keys = [word_keys(read[0], noun) for noun in nouns]
    learned = []
    for encoder, span in encoders(model.pipe, len(read[0].spans)):
        tokens = DynamicTokens(encoder, read[0].spans[span].ids, _within(read[0].spans[span], keys))
        for target in read[1:]:
            tokens.read_in(target.spans[span].ids, _within(target.spans[span], [keys_if_any(target, noun) for noun in nouns]))
        learned.append((encoder, tokens))
    wording = Wording(learned, lambda text: model.read([text]))
    steps = len(trajectory.latents) - 1
    return Scene(model, reader or AttentionReader(model.network, model), model.schedule(steps, trajectory.noise), trajectory, wording, prompt, keys,
                 model.text([prompt], negative)[1])


def encoders(pipe: Any, spans: int) -> list[tuple[nn.Module, int]]:
    """Text encoders whose tokens are keys, each with its span of a prompt: SD-1, SD-2, SDXL, SD3 and PixArt. ValueError for others: some look up more
    than the prompt (Sana writes an instruction before it)."""
    network = type(getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)).__name__
    clips = [encoder for encoder in (getattr(pipe, name, None) for name in ("text_encoder", "text_encoder_2")) if encoder is not None]
    match network:
        case "UNet2DConditionModel" | "PixArtTransformer2DModel":
            return [(encoder, 0) for encoder in clips]
        case "SD3Transformer2DModel":
            return [(encoder, 0) for encoder in clips] + ([(pipe.text_encoder_3, 1)] if spans > 1 and pipe.text_encoder_3 is not None else [])
    raise ValueError(f"{type(pipe).__name__} with {network}: which of its text encoders' tokens are keys is not known here; build a `Wording` and a "
                     "`Scene` yourself, or use SD-1, SD-2, SDXL, SD3 or PixArt")


def _within(span: Span, keys: Sequence[Sequence[int]]) -> list[list[int]]:
    """The keys of each noun that lie in the span, counted from its start."""
    return [[key - span.start for key in each if 0 <= key - span.start < len(span.ids)] for each in keys]

