"""Which attention a call is, and where text and picture lie in it; found as the denoiser runs, since modules are listed in another order."""
from mm.diffusion.layout import Frame, Layout
from mm.diffusion.operands import Axes
from mm.diffusion.site import Kind, Site
from mm.diffusion.watched import Call


class Sites:
    """found: by the name of the attention module, in order of execution."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.found: dict[str, Site] = {}
        self._axes: dict[str, tuple[tuple[object, ...], Axes]] = {}

    def of(self, name: str, call: Call, frame: Frame) -> tuple[Site, Axes]:
        """ValueError where queries and keys are neither the picture's nor the text's."""
        queries, keys = call.q.shape[2], call.k.shape[2]
        key = (frame, queries, keys)
        if name not in self._axes or self._axes[name][0] != key:
            kind, pictures, axes = self._read(name, call, frame)
            self._add(name, kind, pictures, frame)
            self._axes[name] = (key, axes)
        return self.found[name], self._axes[name][1]

    def linear(self, name: str, frame: Frame) -> Site:
        """Of a linear attention among all of a transformer's picture tokens."""
        self._add(name, "self", frame.pictures, frame)
        return self.found[name]

    def _add(self, name: str, kind: Kind, pictures: int, frame: Frame) -> None:
        grid = frame.grid_of(pictures)
        if grid is None:
            raise ValueError(f"{name!r} attends from {pictures} picture tokens, which no level of latents of {frame.latent} has")
        place = self.layout.place(name)
        like = [site for site in self.found.values() if site.kind == kind]
        index, layer = len(like), sum(site.place == place for site in like)
        if name in self.found:
            index, layer = self.found[name].index, self.found[name].layer
        self.found[name] = Site(name, kind, place, index, *grid, frame.latent, layer)

    def _read(self, name: str, call: Call, frame: Frame) -> tuple[Kind, int, Axes]:
        """Kind, picture tokens among the queries, and axes."""
        queries, keys, text = call.q.shape[2], call.k.shape[2], frame.text
        if call.text is not None and keys == call.text:
            return "cross", queries, Axes(slice(0, keys), None, slice(0, queries))
        if queries != keys:
            raise ValueError(f"{name!r} attends from {queries} queries to {keys} keys, given {call.text} of text; that is neither text nor "
                             "picture nor both in one sequence")
        if text is not None and frame.pictures and keys == frame.pictures + text:
            words, picture = self._order(text, keys)
            return "joint", keys - text, Axes(words, picture, picture)
        return "self", queries, Axes(None, slice(0, keys), slice(0, queries))

    def _order(self, text: int, keys: int) -> tuple[slice, slice]:
        if self.layout.text_first:
            return slice(0, text), slice(text, keys)
        return slice(keys - text, keys), slice(0, keys - text)
