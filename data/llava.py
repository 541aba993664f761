"""The user's own data: conversations about pictures and clips in the JSON form that LLaVA introduced (arXiv 2304.08485).

    {"id": "7", "image": "cat.jpg", "conversations": [{"from": "human", "value": "<image>\\nWhat is this?"}, {"from": "gpt", "value": "A cat."}]}

A file is an array of such records or holds one in each line. `image` and `video` are a file name or a list of them, relative to the media folder,
and may both be there. The placeholders `<image>` and `<video>` in the questions say where each of them goes, in order; a kind that they do not
mention at all is put in front of the first question. Where a record has videos only but says `<image>`, as LLaVA-Video does, the videos are meant.
An answer may carry `weight` (a factor on its loss) and `task` (a label for reports); a first message `from: system`, or a key `system`, gives the
instruction before the dialogue. `start` and `end` bound, in seconds, what is seen of a record's only clip, which may be a folder of pictures.
The form {"messages": [{"role": "user", "content": "..."}]} is read as well, its content one text or a list of typed parts:
{"type": "text", "text": ...}, {"type": "image", "image": file}, {"type": "video", "video": file, "start": 2.5, "end": 8}.

    python -m data.llava file.json --media folder      # reads everything, lists what is broken and why
"""
import sys
from pathlib import Path

from torch.utils.data import Dataset

from data.dialogue import Misformed, read
from data.media import Loader
from data.records import Records
from mm.media.images import Limits
from mm.media.readers import Reader
from mm.media.sampling import Sampling
from mm.sample import BadSample, Sample


class Conversations(Dataset[Sample]):
    """Map-style data set of a LLaVA-style file of any size; its memory is a small table of where the records lie.

    file: .json or .jsonl. media: the folder to which file names in it are relative; the file's own folder if None. sampling: which frames of a clip
    are seen, 8 spread evenly by default. limits: which pictures are refused, how large they come out. folder_fps: rate of clips that are folders of
    pictures. reader: of clip files, PyAV by default. A record without an id is called by its file and line.
    Raises FileNotFoundError and ValueError on construction; on access BadSample for a record, picture or clip that cannot be used.
    """

    def __init__(self, file: str, media: str | None = None, sampling: Sampling | None = None, limits: Limits | None = None,
                 folder_fps: float | None = None, reader: Reader | None = None) -> None:
        self.file, self.media, self.load = file, media, Loader(sampling, limits, folder_fps, reader)
        self.records = Records(file)
        self.folder = Path(file).parent if media is None else Path(media)
        if not self.folder.is_dir():
            raise FileNotFoundError(f"the media folder {self.folder} is not a folder; name the one that the file names in {file} are relative to.")

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} was asked for, {self.file} has {len(self)}.")
        where = id = self.records.where(index)
        try:
            record = self.records[index]
            id = str(record.get("id", where))
            system, turns, files = read(record)
            return Sample(id, tuple(self.load(file, self.locate(file.name)) for file in files), turns, system)
        except Misformed as error:
            raise BadSample(id, f"{error} ({where})." if id != where else f"{error}.") from error
        except ValueError as error:  # of Records and BrokenMedia, which name the place themselves
            raise BadSample(id, str(error)) from error

    def locate(self, name: str) -> str:
        return name if "://" in name else str(self.folder / name)


if __name__ == "__main__":
    from data.check import main

    sys.exit(main())
