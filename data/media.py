"""From what a record names to what a model is given: a picture, or some frames of a clip with their times."""
from pathlib import Path

from data.dialogue import VIDEO, File
from mm.media.images import Limits, load_image
from mm.media.readers import PyAV, Reader
from mm.media.sampling import Even, Sampling
from mm.media.video import load_video
from mm.sample import Media


class Loader:
    """sampling: which frames of a clip, 8 spread evenly by default. limits: which pictures are refused, how large they come out. folder_fps: rate of
    clips that are folders of pictures. reader: of clip files."""

    def __init__(self, sampling: Sampling | None = None, limits: Limits | None = None, folder_fps: float | None = None,
                 reader: Reader | None = None) -> None:
        self.sampling, self.limits, self.folder_fps, self.reader = sampling or Even(8), limits or Limits(), folder_fps, reader or PyAV()

    def __call__(self, file: File, source: str | Path | bytes) -> Media:
        """source: where the file is, or its content, which errors then call by its name. Raises BrokenMedia."""
        if file.place != VIDEO:
            return Media(load_image(source, self.limits, file.name)[None])
        clip = load_video(source, self.sampling, self.limits, file.start, file.end, self.folder_fps, self.reader, file.name)
        return Media(clip.pixels, "clip", clip.times)
