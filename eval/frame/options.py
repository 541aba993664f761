"""What all benchmarks share on the command line."""
from dataclasses import dataclass
from pathlib import Path

from eval.frame.usable import OnError
from eval.frame.views import View
from eval.parsers import Reader


@dataclass(frozen=True)
class Options:
    """What all benchmarks share.

    Args:
        model: run directory, directory that VLM.save wrote, or directory of a pretrained vision-language model of transformers.
        lever: YAML with any of `mask:`, `positions:`, `reweight:`, `keep:` and `layout:`, as in configs/lever.
        lora: directory of an adapter that PEFT saved, merged into the language model.
        dtype: of the weights, e.g. bfloat16; as they were saved by default.
        limit: answer the questions about the first N pictures (of each split) only.
        parser: how answers are read.
        view: what the model is shown of each picture.
        data: "world", or official files; sets the `data` option of every benchmark named. images: folder of their pictures, likewise.
        on_error: "stop" before the first answer where pictures cannot be read, or "skip" the items about them.
        out: folder of the results, by default <model>/eval.
        batch_size: pictures a batch, and rows of a forward pass.
        device: cpu, cuda ...; cuda gives each process of torchrun its own.
        overwrite: discard answers that an earlier run left.
        trust_remote_code: run code that comes with a pretrained model.
    """

    model: str
    lever: str | None = None
    lora: str | None = None
    dtype: str | None = None
    limit: int | None = None
    parser: Reader = "official"
    view: View = "full"
    data: str | None = None
    images: str | None = None
    on_error: OnError = "stop"
    out: str | None = None
    batch_size: int = 16
    device: str = "cpu"
    overwrite: bool = False
    trust_remote_code: bool = False


def stem_of(name: str, options: Options) -> str:
    """What the files of a result are called, but for a parser that is not the official one."""
    lever, lora = (Path(path).stem if path else None for path in (options.lever, options.lora))
    return "-".join(filter(None, (
        name, lever, lora, None if options.view == "full" else options.view, f"limit{options.limit}" if options.limit else None)))


def folder_of(options: Options) -> Path:
    """Where results go."""
    if options.out:
        return Path(options.out)
    if not Path(options.model).is_dir():
        raise ValueError(f"model {options.model!r} is no directory here, so --out is needed to say where results go")
    return Path(options.model) / "eval"
