"""What a reference picture goes through on its way into a denoiser, as one module that can be trained, saved and loaded."""
import json
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mm.diffusion.custom.projector import SubjectProjector
from mm.diffusion.custom.stream import VisualStream
from mm.diffusion.custom.views import SubjectEncoder, Views
from mm.parts import build, describe


class Customiser(nn.Module):
    """encoder, projector, stream: pictures → features → tokens → keys and values. ValueError where one's width is not the next one's."""

    def __init__(self, encoder: SubjectEncoder, projector: SubjectProjector, stream: VisualStream) -> None:
        super().__init__()
        if encoder.width != projector.in_width or projector.out_width != stream.width:
            raise ValueError(f"the encoders give {encoder.width} channels, the projector takes {projector.in_width} and gives {projector.out_width}, "
                             f"the stream takes {stream.width}; widths must meet")
        self.encoder, self.projector, self.stream = encoder, projector, stream

    def tokens(self, pictures: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] → [B, T, width]."""
        return self.projector(self.encoder(pictures))

    def blank(self, count: int) -> Tensor:
        """[count, T, width]: of no picture."""
        return self.projector(self.encoder.blank(count))

    def dropped(self, pictures: Tensor, drop: Tensor) -> Tensor:
        """Tokens in training. drop: bool [B], pictures that are left out (a tenth in the release)."""
        seen = self.encoder(pictures)
        kept = ~drop.to(pictures.device)[:, None, None]
        return self.projector(Views(seen.whole * kept, seen.parts * kept))

    def save(self, folder: Path | str) -> None:
        """Projector and stream as safetensors, sizes and what the encoders are as JSON. Frozen encoders are not saved: they are named."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.stream.save(folder / "stream.safetensors")
        save_file({name: weight.detach().contiguous() for name, weight in self.projector.state_dict().items()}, folder / "projector.safetensors")
        encoder = {"encoders": [describe(each) for each in self.encoder.encoders], "side": self.encoder.side, "finer": self.encoder.finer}
        (folder / "customiser.json").write_text(json.dumps({"encoder": encoder, "projector": describe(self.projector)}, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path | str, device: str | torch.device = "cpu") -> Self:
        """What `save` has written. Only parts of `mm` are built, and no code is read from the folder. ValueError for another folder."""
        folder = Path(folder)
        if not (folder / "customiser.json").is_file():
            raise ValueError(f"{folder} holds no customiser.json; give the folder that a customiser was saved in")
        said = json.loads((folder / "customiser.json").read_text())
        encoder = SubjectEncoder([build(each) for each in said["encoder"]["encoders"]], said["encoder"]["side"], said["encoder"]["finer"])
        projector: SubjectProjector = build(said["projector"])
        projector.load_state_dict(load_file(folder / "projector.safetensors"))
        return cls(encoder, projector, VisualStream.load(folder / "stream.safetensors")).to(device)
