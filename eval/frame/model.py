"""The model of an evaluation, as an answerer: assembled from parts or pretrained, by what its directory holds; under levers, with an adapter."""
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml

from eval.frame.assembled import Assembled
from eval.frame.benchmark import Item, Row
from eval.frame.pretrained import Pretrained
from eval.frame.runner import Answer
from eval.frame.weights import fingerprint, surroundings
from mm.language.base import torch_dtype
from mm.levers import pulled, read_lever, under
from mm.models import VLM
from mm.models.lora import merge
from mm.models.pretrained import PretrainedVLM, is_pretrained
from mm.sample import Media

__all__ = ["Model", "fingerprint", "read_lever"]


class Model:
    """The model in `directory`, under the levers of a YAML file.

    lever: what is steered, None for the model as trained. rows: of one forward pass. dtype: of the weights, as they were saved by default. lora:
    directory of an adapter that is merged into the language model. trust_remote_code: run code that comes with a pretrained model.

    identity: name and fingerprint of the weights, and of the adapter. config: what the model is made of. vlm: the model itself.
    ValueError for a directory that holds neither kind of model.
    """

    def __init__(self, directory: str, lever: str | None = None, device: str = "cpu", rows: int = 16, dtype: str | None = None,
                 lora: str | None = None, trust_remote_code: bool = False) -> None:
        home = Path(directory)
        self.lever = read_lever(Path(lever)) if lever else None
        self.identity: Row = {"name": home.resolve().name, "weights": fingerprint(home)}
        self.speaker: Assembled | Pretrained
        if is_pretrained(home):
            self.identity["processor"] = surroundings(home)
            pretrained = PretrainedVLM.load(home, dtype, trust_remote_code)
            self.speaker, language = Pretrained(pretrained, rows), pretrained.model
        else:
            assembled = _assembled(home, dtype)
            self.speaker, language = Assembled(assembled, rows), assembled.language.model
        if dtype is not None:
            self.identity["dtype"] = dtype
        self.config = self.speaker.description()
        if lora is not None:
            self.identity["lora"] = {"name": Path(lora).resolve().name, "weights": fingerprint(Path(lora)), "config": surroundings(Path(lora))}
            self.config["lora"] = merge(language, Path(lora))
        self.vlm = self.speaker.vlm.to(device)
        run = home / "config.yaml"
        if run.exists():
            self.config["run"] = yaml.safe_load(run.read_text(encoding="utf-8"))

    @torch.inference_mode()
    def answer(self, items: Sequence[Item], max_new_tokens: int) -> list[Answer]:
        """Greedy text of each item; for an item with candidates also log p of each as the whole answer, its end included. ValueError naming the item
        whose picture cannot be read."""
        media = {item.picture: read_media(item) for item in {item.picture: item for item in items}.values()}
        levers = pulled(self.lever)
        with under(self.vlm, levers):
            return self.speaker.answer(items, media, max_new_tokens, levers.decoding)


def read_media(item: Item) -> tuple[Media, ...]:
    try:
        return item.media()
    except ValueError as error:
        raise ValueError(f"item {item.id}: {error}") from error


def _assembled(home: Path, dtype: str | None) -> VLM:
    if not any((place / "config.json").is_file() for place in (home, home / "model")):
        raise ValueError(f"no model in {home}: neither it nor its model/ holds config.json. Give a run directory, a folder that VLM.save wrote, or a "
                         "local folder of a vision-language model of transformers (config.json, *.safetensors, processor and tokenizer)")
    vlm = VLM.load(home)
    return vlm if dtype is None else vlm.to(torch_dtype(dtype))
