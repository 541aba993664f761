"""`mm.control`: levers on a denoising run of any model of diffusers, for the length of a context.

    with mm.control(pipe, [mm.diffusion.Replace()], prompts=["a cat on a mat", "a dog on a mat"]) as control:
        source, edited = pipe(["a cat on a mat", "a dog on a mat"], generator=[torch.manual_seed(0), torch.manual_seed(0)]).images

Edits are given row by row of the denoiser's batch. Rows without an edit, the source's and the negative ones, are the plain model's to the bit.
"""
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from mm.diffusion.branches import Branches
from mm.diffusion.calls import Calls
from mm.diffusion.columns import NEUTRAL, Columns
from mm.diffusion.compiled import uncompiled
from mm.diffusion.edit import Edit, FeatureEdit, LatentEdit, Role, SelfEdit, WordEdit
from mm.diffusion.features import injected
from mm.diffusion.layout import Frame, Layout, layout_of
from mm.diffusion.linear import is_linear, linear
from mm.diffusion.moment import Moment
from mm.diffusion.observer import Observer, View
from mm.diffusion.operands import RowEdit, edited
from mm.diffusion.prompt import Prompt, comparable
from mm.diffusion.sampler import Clock, clocked
from mm.diffusion.site import Site
from mm.diffusion.sites import Sites
from mm.diffusion.watched import Call, stock_of, watched


class Control:
    """A run under control. prompts: the source first. moment: the step being made. frame: of the denoiser's last call, with the latents' size.
    sites: attentions that ran so far, by the name of their module. observers: those given and those that the edits brought.
    """

    def __init__(self, denoiser: nn.Module, edits: Sequence[Edit], prompts: Sequence[Prompt], calls: Calls, layout: Layout,
                 recorders: Sequence[Observer], clock: Clock | None) -> None:
        self.denoiser, self.edits, self.prompts, self.layout = denoiser, tuple(edits), tuple(prompts), layout
        self.words = [edit for edit in edits if isinstance(edit, WordEdit)]
        self.selves = [edit for edit in edits if isinstance(edit, SelfEdit)]
        self.features = [edit for edit in edits if isinstance(edit, FeatureEdit)]
        self.latents = [edit for edit in edits if isinstance(edit, LatentEdit)]
        self.observers = (*recorders, *(observer for edit in edits for observer in edit.observers(self.prompts)))
        self.frame: Frame | None = None
        self._calls, self._clock, self._moment = calls, clock, None if clock is None else Moment(0, 1)
        self._sites = Sites(layout)
        self._branches: Branches | None = None
        self._columns: dict[tuple[int, tuple[bool, ...]], Columns] = {}
        self._rows: dict[str, list[RowEdit]] = {}

    @property
    def moment(self) -> Moment:
        """ValueError outside a pipeline as long as nobody has said it."""
        if self._moment is None:
            raise ValueError("without a pipeline's sampler the step is not known; call control.at(step, steps) before the denoiser")
        return self._moment

    @property
    def branches(self) -> Branches:
        """Of the denoiser's call that runs, or ran last."""
        if self._branches is None:
            raise ValueError("no denoiser has been called under this control yet")
        return self._branches

    @property
    def sites(self) -> dict[str, Site]:
        return self._sites.found

    def at(self, step: int, steps: int) -> None:
        """Sets the step for a denoiser that is driven by hand; with several calls a step, once before the first of them."""
        self._set(Moment(step, steps))
        self._calls.restart()

    def _set(self, moment: Moment) -> None:
        if moment != self._moment:
            self._columns.clear()
        if self._moment is not None and moment.step < self._moment.step:
            self._restart()
        self._moment = moment

    def _restart(self) -> None:
        for edit in self.latents:
            edit.begins()

    # Of the sampler.

    def started(self) -> None:
        self._calls.restart()
        self._restart()

    def after(self, latents: Tensor, complete: bool) -> Tensor:
        """Latents after a call of the sampler, changed by the edits if it was the step's last. ValueError for latents that are not finite."""
        self._calls.restart()
        if self.edits and not bool(latents.isfinite().all()):
            raise ValueError(f"latents after step {self.moment.step} hold NaN or infinity: the denoiser overflowed, as float16 does beyond 65504; "
                             "run it in bfloat16 or float32, or let edits scale by less")
        if complete:
            for edit in self.latents:
                latents = edit.after_step(latents, self)
        return latents

    # Of the denoiser.

    def begins(self, frame: Frame) -> None:
        """A call of the denoiser begins."""
        if self._clock is not None:
            self._clock.begun()
            self._set(self._clock.moment)
        self.frame = frame
        silent = not (self.prompts or self.edits or self.observers or self._calls.given)
        self._branches = None if silent else self._calls.next(frame.rows)
        self._rows.clear()

    def ends(self) -> None:
        for observer in self.observers:
            observer.finished()

    def attention(self, name: str, call: Call) -> Tensor:
        """Output of one attention, edited and observed."""
        if self.frame is None:
            raise ValueError(f"the attention {name!r} of {type(self.denoiser).__name__} ran outside a call of the denoiser that control has seen; "
                             "call the whole model, not a block of it")
        site, axes = self._sites.of(name, call, self.frame)
        if self._branches is None:
            return call.stock()
        if name not in self._rows:
            self._rows[name] = self._edits_at(site, self._seen_by(name, call))
        out = edited(call, axes, self._rows[name])
        for observer in self.observers:
            if observer.wants(site):
                observer.observe(View(site, call, axes, self.branches.rows[:call.q.shape[0]], tuple(self._rows[name])))
        return out

    def _seen_by(self, name: str, call: Call) -> int:
        """Rows of the batch that an attention is asked of. Perturbed-attention guidance keeps its last ones, whose map is the identity, out of it."""
        rows, asked = len(self.branches.rows), call.q.shape[0]
        stock = type(stock_of(self.denoiser.get_submodule(name).processor)).__name__
        if asked != rows and not (asked < rows and stock.startswith("PAG")):
            raise ValueError(f"the attention {name!r} is asked of {asked} rows and the denoiser of {rows}: which row is which branch is not known")
        return asked

    def left(self, name: str, seen: bool, text: bool) -> None:
        """ValueError for an attention that did not go through the fused kernel, if anything here is about it."""
        stock = stock_of(self.denoiser.get_submodule(name).processor)
        if seen or is_linear(stock) or not (self.words or self.observers if text else self.selves):
            return
        processor = type(stock).__name__
        raise ValueError(f"the attention {name!r} was not seen: its processor {processor} does not call torch's scaled_dot_product_attention. "
                         "Set processors that do (`unet.set_attn_processor(AttnProcessor2_0())`, and for transformers the attention backend "
                         "'native'), with neither attention slicing nor xformers")

    def _edits_at(self, site: Site, rows: int) -> list[RowEdit]:
        """What happens to each of the first `rows` rows of this attention in this call; one entry a row at most."""
        branches = self.branches
        takes = {} if site.kind == "cross" else self._takes_at(site)
        columns: dict[int, Columns] = {}
        sources = dict(branches.taking("nothing")) | {row: source for row, (source, _) in takes.items()}
        if site.kind != "self" and self.words:
            acting = tuple(edit.applies(site) for edit in self.words)
            for row in branches.edited:
                changed = self._columns_of(branches.rows[row].prompt, acting, site)
                if changed.source is not None or changed.own is not None:
                    columns[row] = changed
        return [RowEdit(row, sources[row], columns.get(row, NEUTRAL), takes[row][1] if row in takes else frozenset())
                for row in sorted({*takes, *columns}) if max(row, sources[row]) < rows]

    def _takes_at(self, site: Site) -> dict[int, tuple[int, frozenset[Role]]]:
        """For each row that takes something among pixels: from which row, and what."""
        found: dict[int, tuple[int, frozenset[Role]]] = {}
        for edit in self.selves:
            if wanted := edit.takes(site, self.moment):
                for row, source in self.branches.taking(edit.negatives):
                    found[row] = (source, wanted | (found[row][1] if row in found else frozenset()))
        return found

    def linear_at(self, name: str) -> dict[int, tuple[int, frozenset[Role]]]:
        """The same for a linear attention."""
        if self.frame is None or not self.selves:
            return {}
        return self._takes_at(self._sites.linear(name, self.frame))

    def _columns_of(self, prompt: int, acting: tuple[bool, ...], site: Site) -> Columns:
        """Columns of a prompt's text map at this step, all word edits folded in their order."""
        key = (prompt, acting)
        if key not in self._columns:
            if not any(acting):
                self._columns[key] = NEUTRAL
                return NEUTRAL
            source, target = self.prompts[0], self.prompts[prompt]
            assert self.frame is not None
            if target.keys != self.frame.text:
                raise ValueError(f"the prompt {target.text!r} has {target.keys} keys and {site.name!r} reads {self.frame.text} text keys; tokenise "
                                 "it as long as the denoiser's text is")
            columns = NEUTRAL
            for edit, acts in zip(self.words, acting, strict=True):
                if acts:
                    columns = columns.mixed(edit.change(columns, source, target), edit.gate(target, self.moment))
            columns = columns.simplest()
            if columns.learns:
                return columns  # a graph serves one backward pass, and its numbers one step of an optimiser
            self._columns[key] = columns
        return self._columns[key]


@contextmanager
def control(model: Any, edits: Sequence[Edit] = (), prompts: Sequence[str | Prompt] = (), branches: Branches | Sequence[Branches] | None = None,
            recorders: Sequence[Observer] = (), layout: Layout | None = None) -> Iterator[Control]:
    """Puts a pipeline of diffusers, or a bare denoiser, under control; leaving puts everything back, after exceptions too.

    Args:
        model: a pipeline, whose sampler then drives the step; or its `unet` or `transformer`, and then `control.at(step, steps)` says the step.
        edits: in this order. Without any, or where all rest, each number is the plain model's to the bit.
        prompts: the source, then the targets, as the pipeline is called with. Texts are tokenised by the pipeline; a bare denoiser needs `Prompt`s.
        branches: which row of the denoiser's batch is what; a sequence for samplers that call the denoiser several times a step. None: what the
            pipeline says of its guidance, else [negative | conditional] or conditional rows only, as the batch size fits the prompts; and two calls
            a step, conditional first, for models of separate guidance.
        recorders: observers of the attention.
        layout: of text and picture, for denoisers that are not known.

    Raises:
        ValueError: for an unknown denoiser, prompts of unlike keys, a batch that does not fit the branches, an attention that cannot be seen.
    """
    denoiser = denoiser_of(model)
    layout = layout_of(denoiser) if layout is None else layout
    read = tokens(model, prompts)
    comparable(tuple(read))
    for edit in edits:
        edit.check(read)
    if any(isinstance(edit, WordEdit) for edit in edits) and len(read) < 2:
        raise ValueError(f"edits of words need the prompts of the source and of at least one target; got {len(read)}")
    pipeline = model if hasattr(model, "scheduler") else None
    calls = Calls(branches, len(read), layout.separate, pipeline)
    clock = None if pipeline is None else Clock(pipeline.scheduler)
    running = Control(denoiser, edits, read, calls, layout, recorders, clock)
    with ExitStack() as stack:
        stack.enter_context(calls.heard())
        stack.enter_context(linear(denoiser, running.linear_at))
        renew = stack.enter_context(watched(denoiser, running))
        stack.enter_context(framed(denoiser, running, renew))
        stack.enter_context(injected(denoiser, running.features, running))
        if pipeline is not None and clock is not None:
            stack.enter_context(clocked(pipeline.scheduler, clock, running.started, running.after))
        yield running


def denoiser_of(model: Any) -> nn.Module:
    """The denoiser of a pipeline, or the model itself; without the wrapper of `torch.compile`. ValueError if there is none."""
    for name in ("unet", "transformer"):
        found = getattr(model, name, None)
        if isinstance(found, nn.Module) and hasattr(model, "scheduler"):
            model = found
            break
    model = uncompiled(model)
    if not isinstance(model, nn.Module):
        raise ValueError(f"{type(model).__name__} is neither a pipeline with a `unet` or `transformer` nor a denoiser")
    return model


def tokens(model: Any, prompts: Sequence[str | Prompt]) -> list[Prompt]:
    """Prompts as keys. ValueError for texts without a pipeline that could tokenise them."""
    texts = [prompt for prompt in prompts if isinstance(prompt, str)]
    if not texts:
        return [prompt for prompt in prompts if isinstance(prompt, Prompt)]
    if len(texts) < len(prompts):
        raise ValueError("prompts are all texts or all `Prompt`s; got some of each")
    if not hasattr(model, "scheduler"):
        raise ValueError(f"a bare {type(model).__name__} has no tokenizer; give `Prompt`s, as mm.diffusion.tokenise makes them from a pipeline")
    from mm.diffusion.tokenise import tokenized
    return tokenized(model, texts)


@contextmanager
def framed(denoiser: nn.Module, running: Control, renew: Callable[[], None]) -> Iterator[None]:
    """Reads sizes off each call of the denoiser, before which `renew` is called."""
    import inspect

    signature = inspect.signature(type(denoiser).forward)

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        renew()
        running.begins(running.layout.frame(module, signature.bind(module, *args, **kwargs).arguments))

    def after(module: nn.Module, args: tuple[Any, ...], result: Any) -> None:
        running.ends()

    handles = [denoiser.register_forward_pre_hook(before, with_kwargs=True), denoiser.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
