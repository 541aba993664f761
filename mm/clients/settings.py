"""Decoding as a harness asks for it, in the argument names of transformers."""
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HONOURED = ("until", "max_new_tokens", "do_sample", "temperature", "seed")
NEUTRAL: Mapping[str, tuple[Any, ...]] = {  # what we cannot do, and the values that ask for nothing
    "top_p": (None, 1), "top_k": (None, 0, -1), "num_beams": (None, 1), "repetition_penalty": (None, 1), "no_repeat_ngram_size": (None, 0)}
SAMPLING = ("top_p", "top_k")  # mean nothing where nothing is drawn
NOT_OURS = ("image_aspect_ratio",)  # how LLaVA prepares pictures; ours are prepared as in training

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """until: the text is cut before the first of these. temperature: of sampling; None decodes greedily. seed: of the draws."""

    until: tuple[str, ...] = ()
    max_new_tokens: int = 1024
    temperature: float | None = None
    seed: int = 0

    @staticmethod
    def of(asked: Mapping[str, Any]) -> "Settings":
        """Of the arguments that a task gives. ValueError for those that would be ignored in silence, and for a temperature without sampling: adapters
        disagree on whether it samples. A temperature of 0 is greedy. `image_aspect_ratio` is left aside with a warning."""
        sampled = _temperature(asked)
        for name in asked:
            if name in NOT_OURS:
                log.warning("%s is an argument of LLaVA's preparation of pictures; this model prepares them as it was trained to", name)
            elif name not in HONOURED and name not in NEUTRAL:
                raise ValueError(f"the task asks for {name}={asked[name]!r}, which this model does not know; it honours {', '.join(HONOURED)}")
            elif name in NEUTRAL and asked[name] not in NEUTRAL[name] and (sampled is not None or name not in SAMPLING):
                raise ValueError(f"the task asks for {name}={asked[name]!r}, which this model cannot honour; override it: --gen_kwargs "
                                 f"{name}={NEUTRAL[name][1]}")
        return Settings(_stops(asked.get("until")), _most(asked.get("max_new_tokens")), sampled, int(asked.get("seed") or 0))

    def cut(self, text: str) -> str:
        """The text before the first stop string in it."""
        return text[:min((place for stop in self.until if (place := text.find(stop)) >= 0), default=len(text))]


def _temperature(asked: Mapping[str, Any]) -> float | None:
    temperature, do_sample = asked.get("temperature"), asked.get("do_sample")
    value = 1.0 if temperature is None else float(temperature)
    if value < 0:
        raise ValueError(f"the task asks for temperature={temperature!r}; it is 0 or more")
    if not value:
        return None
    if temperature is not None and not do_sample:
        raise ValueError(f"the task asks for temperature={temperature!r} and do_sample={do_sample!r}; say which it is: --gen_kwargs temperature=0 or "
                         "--gen_kwargs do_sample=true")
    return value if do_sample else None


def _stops(until: Any) -> tuple[str, ...]:
    stops = () if until is None else (until,) if isinstance(until, str) else tuple(until)
    if not all(isinstance(stop, str) and stop for stop in stops):
        raise ValueError(f"the task stops at until={until!r}; each stop is a string of at least one character")
    return stops


def _most(value: Any) -> int:
    if value is None:
        return Settings.max_new_tokens
    if isinstance(value, bool) or int(value) != value or value < 1:
        raise ValueError(f"the task asks for max_new_tokens={value!r}; it is a whole number, 1 or more")
    return int(value)
