"""Pictures and clips from files, as data sets, benchmarks and `mm.ask` read them; one file a format or policy."""
from mm.media.errors import BrokenMedia
from mm.media.images import Limits, load_image
from mm.media.readers import PyAV, Reader
from mm.media.sampling import All, Even, LLaVAVideo, MVBench, RateThinned, RateTruncated, Sampling, SegmentJitter, SegmentMid, Timeline
from mm.media.torchcodec import TorchCodec
from mm.media.video import Clip, load_video

__all__ = ["BrokenMedia", "Limits", "load_image", "load_video", "Clip", "Reader", "PyAV", "TorchCodec", "Sampling", "Timeline", "All", "Even",
           "SegmentMid", "SegmentJitter", "MVBench", "LLaVAVideo", "RateTruncated", "RateThinned"]
