"""Clips by torchcodec (Meta, 2024) instead of PyAV, where it works: it needs FFmpeg's shared libraries on the system, and can be imported without."""
import io
import json
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import av
import numpy as np

from mm.media.errors import BrokenMedia
from mm.media.readers import PyAV, Reader
from mm.media.video_file import VideoFile

EXACT = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")


class TorchCodec(Reader):
    """Raises ValueError on construction where torchcodec cannot decode a clip, which is tried.

    It reads what the index of the clip says, so that frames have the same numbers and times as with PyAV. What it does not read exactly goes through
    PyAV: containers other than MP4 and Matroska (of transport and program streams it was found to return neighbours, version 0.17 with FFmpeg 5.1),
    clips without time stamps or with an edit list, and frames that are to be reduced.
    """

    def __init__(self) -> None:
        if (reason := fault()) is not None:
            raise ValueError(f"mm.media.TorchCodec cannot be used: {reason}. Install torchcodec for this PyTorch and FFmpeg 4 to 9 with its "
                             "shared libraries, or read with mm.media.PyAV.")

    def frames(self, clip: VideoFile, wanted: list[int]) -> Iterator[np.ndarray]:
        context = clip.stream.codec_context
        exact = clip.index.pts and not clip.index.cut and clip.container.format.name in EXACT
        if not exact or max(context.width, context.height) > clip.limits.max_side:
            yield from PyAV().frames(clip, wanted)
            return
        source = clip.source if isinstance(clip.source, bytes) else str(clip.source)
        try:
            yield from decode(source, clip.stream.index, mapping(clip), wanted)
        except RuntimeError as error:
            raise BrokenMedia(f"{clip.name} is damaged: {str(error).splitlines()[0]} Convert it, or leave it out.") from error


def decode(source: str | bytes, stream: int, frame_mappings: str | None, wanted: list[int]) -> Iterator[np.ndarray]:
    from torchcodec.decoders import VideoDecoder  # optional

    decoder = VideoDecoder(source, stream_index=stream, dimension_order="NHWC", num_ffmpeg_threads=1, custom_frame_mappings=frame_mappings)
    for index in wanted:
        yield decoder.get_frame_at(index).data.numpy()


def mapping(clip: VideoFile) -> str:
    """The index in the form in which torchcodec takes it, which spares its own scan of the file."""
    stamps, keys = clip.index.pts, {key.pts for key in clip.index.keys}
    return json.dumps({"frames": [{"pts": pts, "duration": following - pts, "key_frame": int(pts in keys)}
                                  for pts, following in pairwise([*stamps, stamps[-1] + 1])]})


@cache
def fault() -> str | None:
    """Why torchcodec cannot decode a clip of two frames made for the purpose; None if it can."""
    try:
        file = io.BytesIO()
        with av.open(file, "w", format="mp4") as container:
            stream = container.add_stream("libx264rgb", rate=10, options={"qp": "0"})
            stream.width, stream.height, stream.pix_fmt = 16, 16, "bgr0"
            for level in (0, 255):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((16, 16, 3), level, np.uint8), format="rgb24")))
            container.mux(stream.encode())
        levels = [int(frame.min()) for frame in decode(file.getvalue(), 0, None, [0, 1])]
    except Exception as error:  # a missing library shows as almost anything, at import or later
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return None if levels == [0, 255] else f"of frames with the levels 0 and 255 it made {levels}"
