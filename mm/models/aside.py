"""A model that is read beside something else that reads it: the branch of a contrast, between two steps of `generate`."""
from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel

from mm.language.anatomy import text_decoder
from mm.language.door import levers_of

KEPT = "rope_deltas"  # what models with multimodal rotary positions note down of the prompts that they read last


@contextmanager
def aside(model: PreTrainedModel) -> Iterator[None]:
    """What is read within is not taken for the prompts of a `generate` that is running, and the model's notes are afterwards what they were."""
    notes, levers = vars(model.base_model), levers_of(text_decoder(model))
    kept = notes.get(KEPT)
    prompt = None if levers is None else levers.prompt
    if levers is not None:
        levers.prompt = None
    try:
        yield
    finally:
        if KEPT in notes:
            notes[KEPT] = kept
        if levers is not None:
            levers.prompt = prompt
