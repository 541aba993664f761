"""The step that a pipeline's sampler is at, read from the sampler itself: whoever counts attentions is out of step after the first that is skipped.

The scheduler's instance gets `set_timesteps`, `scale_model_input` and `step` that report to a clock; leaving puts the class's own back.
"""
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from mm.diffusion.moment import Moment


class Clock:
    """The position in the scheduler's `timesteps`. Schedulers of second order have two of them a step."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.position: int | None = None

    @property
    def order(self) -> int:
        return int(getattr(self.scheduler, "order", 1))

    @property
    def count(self) -> int:
        return len(self.scheduler.timesteps)

    def meet(self, timestep: Any) -> None:
        """The sampler says which timestep it is at. A run that starts at one that comes twice starts at the second: the first ends a step."""
        value = float(timestep.flatten()[0]) if isinstance(timestep, Tensor) else float(timestep)  # Sana-Sprint says it once a picture
        times = [float(time) for time in self.scheduler.timesteps]
        expected = getattr(self.scheduler, "begin_index", None) if self.position is None else self.position
        if isinstance(expected, int) and expected < len(times) and times[expected] == value:
            self.position = expected
        elif value in times:
            self.position = [position for position, time in enumerate(times) if time == value][:2][-1]

    def begun(self) -> None:
        """A denoiser is called: without another word, at the beginning, which image-to-image runs set."""
        if self.position is None:
            begin = getattr(self.scheduler, "begin_index", None)
            self.position = begin if isinstance(begin, int) else 0

    @property
    def moment(self) -> Moment:
        position = min(self.position or 0, max(self.count - 1, 0))
        return Moment(position // self.order, -(-self.count // self.order))

    @property
    def completes(self) -> bool:
        """Whether the evaluation at this position ends a step of the sampler."""
        position = self.position or 0
        return (position + 1) % self.order == 0 or position + 1 >= self.count


@contextmanager
def clocked(scheduler: Any, clock: Clock, started: Callable[[], None], after: Callable[[Tensor, bool], Tensor]) -> Iterator[None]:
    """started: called when the sampler begins a run. after: the latents that a call of `step` returns, and whether the step is over → the latents."""
    names = [name for name in ("set_timesteps", "scale_model_input", "step") if hasattr(scheduler, name)]
    before = {name: scheduler.__dict__.get(name) for name in names}
    stock = {name: getattr(scheduler, name) for name in names}

    @functools.wraps(stock["set_timesteps"])
    def set_timesteps(*args: Any, **kwargs: Any) -> Any:
        result = stock["set_timesteps"](*args, **kwargs)
        clock.position = None
        started()
        return result

    @functools.wraps(stock.get("scale_model_input", stock["step"]))
    def scale_model_input(sample: Tensor, timestep: Any = None, *args: Any, **kwargs: Any) -> Any:
        if timestep is not None:
            clock.meet(timestep)
        return stock["scale_model_input"](sample, timestep, *args, **kwargs)

    @functools.wraps(stock["step"])
    def step(model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Any:
        clock.meet(timestep)
        clock.begun()
        result = stock["step"](model_output, timestep, sample, *args, **kwargs)
        if isinstance(result, tuple):
            result = (after(result[0], clock.completes), *result[1:])
        else:
            result.prev_sample = after(result.prev_sample, clock.completes)
        clock.position = (clock.position or 0) + 1
        return result

    mine = {"set_timesteps": set_timesteps, "scale_model_input": scale_model_input, "step": step}
    try:
        for name in names:
            setattr(scheduler, name, mine[name])
        yield
    finally:
        for name in names:
            if before[name] is None:
                delattr(scheduler, name)
            else:
                setattr(scheduler, name, before[name])
