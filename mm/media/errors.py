"""A picture or clip that cannot be read, and why; a file that is not there, and which one may be meant."""
from difflib import get_close_matches
from itertools import islice
from os import scandir
from pathlib import Path

MOST_NAMES = 100_000  # of a folder that are looked through for a similar name


class BrokenMedia(ValueError):
    """A picture or clip that cannot be used: names the file, what was found, what was expected, what to do."""


def missing(path: Path) -> str:
    """One sentence on a file that does not exist: the most similar name in its folder, or how much of its path exists."""
    folder = path.parent
    if not folder.is_dir():
        while not folder.is_dir() and folder != folder.parent:
            folder = folder.parent
        return f"{path} does not exist: its path ends at the folder {folder}; is the media folder the right one?"
    with scandir(folder) as entries:
        names = [entry.name for entry in islice(entries, MOST_NAMES)]
    near = get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f"{path} does not exist; " + (f"did you mean {near[0]}?" if near else f"none of the {len(names)} names in {folder} is similar.")


def existing(source: str | Path) -> Path:
    """`source` as a path if it is a file with something in it; BrokenMedia otherwise."""
    if str(source).startswith(("http://", "https://", "data:")):
        raise BrokenMedia(f"{str(source)[:80]} is an address or inline data, expected a file name; save it as a file first.")
    path = Path(source)
    try:
        if path.is_dir():
            raise BrokenMedia(f"{path} is a folder, not a file; name the file in it.")
        if not path.exists():
            raise BrokenMedia(missing(path))
        if path.stat().st_size == 0:
            raise BrokenMedia(f"{path} is empty (0 bytes); write it again, or leave it out.")
    except OSError as error:  # no permission, a name too long for the file system ...
        raise BrokenMedia(f"{str(path)[:80]} cannot be reached: {error.strerror}.") from error
    return path
