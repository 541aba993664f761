"""Features of a frozen encoder on disk: what a picture or frame becomes is computed once, however often and in whichever clip it is seen.

An entry is found by the content of the frame as the encoder gets it and by the encoder itself: description, weights, precision, layers. So it stands
for the file, the frames that were taken of it and their size, and nothing is served after one of them has changed.
"""
import hashlib
import json
import os
import time
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mm.parts import describe
from mm.vision.base import VisionEncoder

ROOM = 0.8  # of the bound that is left in use when old entries are removed
STALE = 3600.0  # seconds after which a file that is still being written belongs to a process that died


class FeatureCache:
    """`encoder.cache = FeatureCache(folder)` makes `encoder` ask it first; the option `model.feature_cache` of a training run does that.

    folder: made if need be; may be shared by processes, runs and encoders. max_gib: entries that were not asked for the longest time go where it is
    exceeded; every process looks after it writes a twentieth of it, so that n of them may exceed it by as many twentieths.

    A feature is the one of the batch in which it was first computed; the same frame in another batch may differ from it in the last bits. Frames are
    still decoded, and copied from the device to be looked up.
    """

    def __init__(self, folder: str, max_gib: float = 50.0) -> None:
        if max_gib <= 0:
            raise ValueError(f"FeatureCache: max_gib is the size that the folder may have, above 0; got {max_gib}")
        self.folder, self.max_gib = folder, max_gib
        self.known: tuple[tuple[tuple[int, ...], ...], str] = (), ""
        self.written, self.warned = float("inf"), False  # look before the first entry is written

    def __call__(self, encoder: VisionEncoder, pixels: Tensor, levels: Sequence[int] = ()) -> Tensor:
        """Features of uint8 frames [F, 3, H, W] as `encoder.encode` gives them. ValueError for an encoder that trains."""
        self.check_frozen(encoder)
        device = pixels.device.type
        precision = str(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else ""
        name = f"{self.fingerprint(encoder)}{precision}{list(levels) or ''}"
        keys = [hashlib.sha256(name.encode() + content(frame)).hexdigest() for frame in pixels]
        found = {key: self.get(key) for key in dict.fromkeys(keys)}
        missing = [key for key, features in found.items() if features is None]
        if missing:
            with torch.no_grad():
                computed = encoder.encode(pixels[[keys.index(key) for key in missing]], levels)
            for key, features in zip(missing, computed, strict=True):
                found[key] = features
                self.put(key, features)
        return torch.stack([found[key].to(pixels.device, non_blocking=True) for key in keys])  # type: ignore[union-attr]

    @staticmethod
    def check_frozen(encoder: VisionEncoder) -> None:
        trains = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in encoder.parameters())
        if trains or any(module.training for module in encoder.modules() if not any(True for _ in module.children())):
            state = "has parameters that train" if trains else "is in training mode"
            raise ValueError(f"{type(encoder).__name__} {state}, so that its features change; freeze it and call eval(), or take its cache away")

    def fingerprint(self, encoder: VisionEncoder) -> str:
        """Of architecture and weights; computed again when a weight was replaced or written to. What is written to a weight's `.data` in place cannot
        be seen: give the encoder a new FeatureCache then."""
        state = encoder.state_dict(keep_vars=True)
        versions = tuple((id(value), value.data_ptr(), value.itemsize, value._version) for value in state.values())
        if versions != self.known[0]:
            digest = hashlib.sha256(json.dumps(describe(encoder, offline=True)).encode())
            for name, value in state.items():
                digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
                digest.update(content(value))
            self.known = versions, digest.hexdigest()
        return self.known[1]

    def place(self, key: str) -> Path:
        return Path(self.folder) / key[:2] / f"{key}.safetensors"

    def get(self, key: str) -> Tensor | None:
        """The entry, None where there is none or it is damaged."""
        path = self.place(key)
        try:
            with safe_open(path, framework="pt") as file:
                features = file.get_tensor("features")
                whole = (file.metadata() or {}).get("crc32") == checksum(features)
            if whole:
                os.utime(path)  # it was asked for
            return features if whole else None
        except (OSError, SafetensorError):
            return None

    def put(self, key: str, features: Tensor) -> None:
        """Whole or not at all. A disk that is full costs the entry and a warning, not the run."""
        features = features.detach().cpu().contiguous()
        file_content = save({"features": features}, metadata={"crc32": checksum(features)})
        path = self.place(key)
        staged = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=path.parent, suffix=".writing", delete=False) as file:
                staged = file.name
                file.write(file_content)
            os.replace(staged, path)
        except OSError as error:
            if staged is not None:
                Path(staged).unlink(missing_ok=True)
            if not self.warned:
                warnings.warn(f"features are not cached in {self.folder}: {error.strerror}; they are computed each time", stacklevel=2)
            self.warned = True
            return
        self.written += len(file_content)
        if self.written > self.max_gib * 2**30 / 20:
            self.shrink(self.max_gib * 2**30)
            self.written = 0.0

    def shrink(self, most: float) -> None:
        """Removes the entries that were not asked for the longest time, until `ROOM` of `most` bytes are in use, if more than `most` are."""
        entries = []
        for path in Path(self.folder).glob("??/*"):
            try:
                status = path.stat()
            except FileNotFoundError:  # another process was faster
                continue
            if path.suffix == ".safetensors":
                entries.append((status.st_mtime, status.st_size, path))
            elif path.suffix == ".writing" and time.time() - status.st_mtime > STALE:
                path.unlink(missing_ok=True)
        used = sum(size for _, size, _ in entries)
        if used <= most:
            return
        for _, size, path in sorted(entries):
            if used <= ROOM * most:
                return
            path.unlink(missing_ok=True)
            used -= size

    def clear(self) -> None:
        """Removes every entry."""
        self.shrink(0)


def content(value: Tensor) -> memoryview:
    """Its bytes."""
    return value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data


def checksum(features: Tensor) -> str:
    return f"{zlib.crc32(content(features)):08x}"
