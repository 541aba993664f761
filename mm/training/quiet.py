"""What Lightning tells everyone and nobody needs."""
import logging
import warnings

NOISE = ("Total length of `list` across ranks is zero", ".*isinstance.treespec, LeafSpec", ".*does not have many workers",
         "The number of training batches", ".*module\\(s\\) in eval mode")  # frozen parts rest; the start-up table says which


def quiet() -> None:
    """Leave the start-up table, the progress bar and our own warnings."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in NOISE:
        warnings.filterwarnings("ignore", message=message)
