"""`mm.steer`: pull levers on a model for a while, or until they are let go; it leaves no trace."""
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import __version__ as version

from mm.attention import Plan, Recorder
from mm.keep import Keep
from mm.language import seam
from mm.language.anatomy import decoder_layers, key_shape, text_decoder, uses_multimodal_rotary
from mm.language.arguments import by_name, cache_among
from mm.language.door import LEVERS, Levers, levers_of, over, real_tokens
from mm.masks import Mask
from mm.models.families import token_map
from mm.positions import Positions, Sequential
from mm.reweight import Rule
from mm.tokens import TokenMap

Model = TypeVar("Model", bound=nn.Module)
Held = tuple[Mask, Positions, Sequence[Rule], Keep]
PICTURES = ("pixel_values", "pixel_values_videos", "mm_encoder_outputs")  # arguments that bring a model its pictures; the last, encoded beforehand


@runtime_checkable
class Levered(Protocol):
    """A model that holds its levers itself, as `mm.VLM` does."""

    mask: Mask
    positions: Positions
    reweight: Sequence[Rule]
    keep: Keep


def steer(model: Model, mask: Mask | None = None, positions: Positions | None = None, reweight: Sequence[Rule] | None = None,
          keep: Keep | None = None, tokens: TokenMap | None = None, recorder: Recorder | None = None) -> "Steering[Model]":
    """`model` reads under these levers, in training and in `generate`; None leaves a lever as it is.

    `with mm.steer(model, ...):` for a while, or `steering = mm.steer(model, ...)`, `steering.install()` ... `steering.uninstall()`. Steerings nest:
    the inner one's levers win where it has any.

    Args:
        model: a `mm.VLM`, a causal LM or a vision-language model of transformers.
        mask: who sees whom. positions: where tokens are. reweight: what moves attention, in order.
        keep: what is kept of a picture; of a mm.VLM only.
        tokens: map of the padded prompts that are read within. Without it the map is taken from what the model reads: its placeholders, grids,
            attention mask and labels (`mm.models.token_map`); of a plain causal LM each row is one text.
        recorder: watches the attention of a few rows.

    Raises TypeError for another model, UnsupportedModelError with the reason where a lever cannot hold exactly, ValueError for layers or heads that
    the model does not have. Nothing has changed then.
    """
    if isinstance(model, Levered):
        if tokens is not None or recorder is not None:
            raise TypeError("a mm.VLM describes its own tokens; `tokens` and `recorder` are for models of transformers")
        return SteeredLevers(model, mask, positions, reweight, keep)
    if isinstance(model, PreTrainedModel):
        if keep is not None:
            raise seam.UnsupportedModelError(f"{type(model).__name__} counts its placeholders itself, so {keep!r} cannot shorten what it reads; "
                                             "build a mm.VLM with keep=...")
        return SteeredModel(model, Plan(mask, tokens, recorder, positions, None if reweight is None else tuple(reweight)))
    raise TypeError(f"cannot steer a {type(model).__name__}; give a mm.VLM, or a causal language or vision-language model of transformers")


class Steering(AbstractContextManager[Model], ABC, Generic[Model]):
    """Levers on a model, from `install` to `uninstall`, or within a `with` block."""

    def __init__(self, model: Model) -> None:
        self.model = model

    @abstractmethod
    def install(self) -> Model:
        """Pulls the levers. Raises where one cannot hold, and nothing has changed then."""

    @abstractmethod
    def uninstall(self) -> None:
        """Lets go of them."""

    def __enter__(self) -> Model:
        return self.install()

    def __exit__(self, *error: object) -> None:
        self.uninstall()


class SteeredLevers(Steering[Model]):
    """A model that holds its levers: they are exchanged."""

    def __init__(self, model: Model, mask: Mask | None, positions: Positions | None, reweight: Sequence[Rule] | None,
                 keep: Keep | None) -> None:
        super().__init__(model)
        self.mask, self.positions, self.reweight, self.keep = mask, positions, reweight, keep
        self.before: list[Held] = []

    def install(self) -> Model:
        model: Any = self.model
        held = model.mask, model.positions, model.reweight, model.keep
        rules = held[2] if self.reweight is None else model.language.rules(self.reweight)  # it and `keep` may refuse, so they come first
        if self.keep is not None:
            model.keep = self.keep
        model.reweight = rules
        model.mask, model.positions = self.mask or held[0], self.positions or held[1]
        self.before.append(held)
        return self.model

    def uninstall(self) -> None:
        model: Any = self.model
        model.mask, model.positions, model.reweight, keep = self.before.pop()
        if keep is not model.keep:
            model.keep = keep


class SteeredModel(Steering[Model]):
    """A model of transformers: put on the seam, its levers on its decoder."""

    def __init__(self, model: Model, plan: Plan) -> None:
        super().__init__(model)
        self.plan = plan
        self.installed: list[Plan] = []

    def install(self) -> Model:
        model: Any = self.model
        decoder = text_decoder(model)
        plan = replace(self.plan)
        if isinstance(plan.positions, Sequential) and uses_multimodal_rotary(model):
            plan = replace(plan, positions=None)  # the model's own count is its sequence
        levers = levers_of(decoder)
        check(model, plan if levers is None or levers.plan is None else over(levers.plan, plan))
        if levers is None:
            levers = Levers(seam.install(model), sees=model.config.get_text_config() is not model.config)
            setattr(decoder, LEVERS, levers)
            model.register_forward_pre_hook(enter_model, with_kwargs=True)
            if model.can_generate():
                vars(model)["generate"] = Generate(model)
        levers.plans.append(plan)
        self.installed.append(plan)
        return self.model

    def uninstall(self) -> None:
        model: Any = self.model
        levers = levers_of(text_decoder(model))
        assert levers is not None, "what was installed lies on the decoder"
        plan = self.installed.pop()
        levers.plans = [other for other in levers.plans if other is not plan]
        if not levers.plans:
            release(model)


def release(model: PreTrainedModel) -> None:
    """Takes the last levers' traces off a model. Layers that a backward pass will recompute need its attention until that is done."""
    decoder = text_decoder(model)
    levers = levers_of(decoder)
    if levers is None or levers.plans:
        return
    recomputes = any(getattr(module, "gradient_checkpointing", False) for module in decoder.modules())
    if recomputes and (pending := list(levers.pending)):  # of those that are gone the set may not know yet
        for reading in pending:
            weakref.finalize(reading, release_later, weakref.ref(model))
        return
    delattr(decoder, LEVERS)
    vars(model).pop("generate", None)
    for key in [key for key, hook in model._forward_pre_hooks.items() if hook is enter_model]:
        del model._forward_pre_hooks[key], model._forward_pre_hooks_with_kwargs[key]
    seam.uninstall(model, levers.before)


def release_later(model: "weakref.ref[PreTrainedModel]") -> None:
    if (alive := model()) is not None:
        release(alive)


def check(model: PreTrainedModel, plan: Plan) -> None:
    """Raises where a lever of `plan` cannot hold exactly in `model`."""
    config = model.config.get_text_config()
    implementation = str(config._attn_implementation)
    levers = [lever for lever in (plan.mask, *(plan.rules or ())) if lever is not None and not getattr(lever, "is_causal", False)]
    if "flash" in implementation and levers:
        raise seam.UnsupportedModelError(f"{type(model).__name__} runs on {implementation!r}, which cannot compute {levers[0]!r}; "
                                         "load it with attn_implementation='sdpa'")
    for lever in levers:
        seam.check_layers(config, lever)
    if plan.positions is not None and not isinstance(plan.positions, Sequential) and uses_multimodal_rotary(model):
        raise seam.UnsupportedModelError(
            f"{type(model).__name__} places tokens by (time, row, column), and {plan.positions!r} assigns one number a token: there is no exact way "
            "to say it in three; leave positions out, or use a model with ordinary rotary positions")
    for rule in plan.rules or ():
        assert isinstance(rule, Rule)
        rule.bind(len(decoder_layers(model)), config.num_attention_heads)
        rule.measure(*key_shape(config))


def enter_model(model: PreTrainedModel, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Forward pre-hook of the whole model, outside of `generate`: maps the tokens that it is about to read, unless it is one decoded token."""
    levers = levers_of(text_decoder(model))
    if levers is None or levers.plan is None:
        return
    levers.chunk = None
    kwargs = by_name(model, args, kwargs)
    ids, embeds, cache = kwargs.get("input_ids"), kwargs.get("inputs_embeds"), cache_among(kwargs)
    read = ids if ids is not None else embeds
    if levers.plan.tokens is not None or read is None:
        return
    (batch, count), start = read.shape[:2], 0 if cache is None else int(cache.get_seq_length())
    if levers.prompt is not None:
        if embeds is None and all(kwargs.get(name) is None for name in PICTURES):
            no_pictures_in(levers.prompt[:, start:start + count], start)
        return
    if start and count == 1 and kwargs.get("pixel_values") is None:
        return
    real = real_tokens(kwargs.get("attention_mask"), batch, start, count, read.device)
    levers.chunk = token_map(model, {**kwargs, "input_ids": ids, "attention_mask": real})


def no_pictures_in(read: TokenMap, start: int) -> None:
    """ValueError where `generate` hands the model a piece of the prompt without its pictures, as some releases do when they read it in chunks."""
    if bool(read.is_vision.any()):
        raise ValueError(f"tokens {start} to {start + read.shape[1] - 1} of the prompt hold pictures, and generate of transformers {version} gives "
                         "the model none to read there; read the prompt in one piece (prefill_chunk_size=None)")


class Generate:
    """`model.generate` of a steered model: it maps the prompts first, because later their pictures are but features and their end is not marked."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    def __call__(self, inputs: Tensor | None = None, *args: Any, **kwargs: Any) -> Any:
        model: Any = self.model
        levers = levers_of(text_decoder(model))
        if levers is None or levers.plan is None:
            return type(model).generate(model, inputs, *args, **kwargs)
        ids = inputs if inputs is not None else kwargs.get("input_ids")
        if levers.plan.tokens is None and ids is not None:
            levers.prompt = token_map(model, {**kwargs, "input_ids": ids, "attention_mask": self.real(ids, kwargs.get("attention_mask"))})
        try:
            return type(model).generate(model, inputs, *args, **kwargs)
        finally:
            levers.prompt = None

    def real(self, ids: Tensor, given: Tensor | None) -> Tensor:
        """Which ids are no padding. As `generate` itself does, padding ids count where no mask is given, unless they may end an answer."""
        if given is not None:
            return given
        config: Any = self.model.generation_config
        ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
        pad = config.pad_token_id
        return torch.ones_like(ids) if pad is None or pad in ends else ids.ne(pad).long()
