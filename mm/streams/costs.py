"""What a stream inside the language model costs, and what it spares: multiply-accumulates by formula, two FLOP each.

Attention is counted as the kernels compute it without a mask: scores and sums of values over all pairs. Norms, gates and sums are not counted.
"""
from mm.streams.stream import Shape


def projector(source_width: int, width: int, tokens: int) -> int:
    """An MLP of two maps (mlp2x_gelu) on so many tokens."""
    return (source_width * width + width * width) * tokens


def pairs(shape: Shape, queries: int, keys: int) -> int:
    """Scores and sums of one attention."""
    return 2 * queries * keys * shape.heads * shape.head_width


def layer_maps(shape: Shape, tokens: int) -> int:
    """The maps of a layer of Llama's kind, SwiGLU included."""
    return tokens * shape.width * (2 * shape.heads * shape.head_width + 2 * shape.key_heads * shape.head_width + 3 * shape.hidden)


def decoder(shape: Shape, layers: int, tokens: int) -> int:
    """All layers over one row, without the head."""
    return layers * (layer_maps(shape, tokens) + pairs(shape, tokens, tokens))


def dual_maps(shape: Shape, source_width: int, tokens: int, features: int) -> int:
    """The maps of one Dual block: queries and outputs of the tokens that read, and keys and values of both branches."""
    return 2 * tokens * shape.width * shape.heads * shape.head_width + 4 * features * source_width * shape.key_heads * shape.head_width


def dual(shape: Shape, source_width: int, visual: int, text: int, features: int, groups: int = 1) -> int:
    """One Dual block where all text stands behind the media. groups: media, or frames where a visual token reads its own frame; all of one size."""
    return dual_maps(shape, source_width, visual + text, features) + pairs(shape, visual, features // groups) + pairs(shape, text, features)


def tower(width: int, hidden: int, layers: int, tokens: int, patch: int) -> int:
    """A vision transformer over one frame, its patches of `patch` numbers each included."""
    return patch * width * tokens + layers * (tokens * (4 * width * width + 2 * width * hidden) + 2 * tokens * tokens * width)
