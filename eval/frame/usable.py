"""Pictures that cannot be read, found before the first question is asked."""
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Literal, NamedTuple

from eval.frame.benchmark import Item, Row, Scored
from eval.frame.processes import Processes
from mm.sample import PLACEHOLDERS

OnError = Literal["stop", "skip"]
NAMED = 5  # pictures that a message names


class Usable(NamedTuple):
    """items: those that can be asked. faults: picture -> why it cannot be read. skipped: ids of the items about them."""

    items: list[Item]
    faults: dict[str, str]
    skipped: list[str]

    def settings(self) -> Row:
        return {"skipped": self.skipped} if self.skipped else {}

    def noted(self, scored: Scored) -> Scored:
        """With a remark on what was skipped."""
        if not self.skipped:
            return scored
        named = "; ".join(islice(self.faults.values(), NAMED)) + " ..." * (len(self.faults) > NAMED)
        remark = f"{len(self.faults)} pictures could not be read, and the {len(self.skipped)} items about them were left out ({named})"
        return replace(scored, remarks=(*scored.remarks, remark))


def usable(items: Sequence[Item], on_error: OnError, processes: Processes) -> Usable:
    """Reads every picture once, each process some of them, and drops the items whose picture is broken.

    Items about clips are kept unread: reading them costs about what answering does, and their benchmarks look for them. ValueError that names the
    first item where pictures are broken and `on_error` is "stop", or where none is left.
    """
    pictures: dict[str, Item] = {}
    for item in items:
        if PLACEHOLDERS["clip"] not in item.question:
            pictures.setdefault(item.picture, item)
    names = list(pictures)
    mine = {name: fault for name in names[processes.rank::processes.size] if (fault := fault_of(pictures[name])) is not None}
    gathered = processes.gather(mine)
    faults: dict[str, str] = processes.share(None if gathered is None else {
        name: each[name] for name in names for each in gathered if name in each})
    skipped = [item.id for item in items if item.picture in faults]
    if faults and (on_error == "stop" or len(skipped) == len(items)):
        first = next(iter(faults))
        raise ValueError(f"item {pictures[first].id}: {faults[first]} {len(faults)} of {len(pictures)} pictures cannot be read, which "
                         f"{len(skipped)} of {len(items)} items are about. Complete the folder"
                         + (", or give --on_error skip, and they are left out, counted and named." if on_error == "stop" else "."))
    return Usable([item for item in items if item.picture not in faults], faults, skipped)


def fault_of(item: Item) -> str | None:
    """Why its media cannot be read."""
    try:
        item.media()
    except (ValueError, OSError) as error:
        return str(error)
    return None
