"""Loading without noise: progress bars of five small files, and a remark on every load of a pipeline whose codec is ours."""
import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Within, diffusers and transformers draw no progress bars, and diffusers does not say that a codec is no AutoencoderKL; warnings stay."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    drawn = [each for each in (of_diffusers, of_transformers) if each.is_progress_bar_enabled()]
    remarks = logging.getLogger("diffusers.pipelines.pipeline_utils")
    for each in drawn:
        each.disable_progress_bar()
    remarks.addFilter(_tells)
    try:
        yield
    finally:
        remarks.removeFilter(_tells)
        for each in drawn:
            each.enable_progress_bar()


def _tells(record: logging.LogRecord) -> bool:
    return not (record.getMessage().startswith("Expected types for vae") and "PatchCodec" in record.getMessage())
