"""Which rows of a batch predict an answer."""
from torch import Tensor

from mm.models import Batch


def last_answer(batch: Batch, b: int) -> Tensor:
    """Rows of sample `b` that predict its last turn's answer, [A]."""
    width = batch.input_ids.shape[1]
    own = batch.predict_at[batch.predict_at // width == b] % width
    turn = batch.tokens.turn[b, own + 1]
    return own[turn == turn.max()]
