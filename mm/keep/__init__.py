"""What is kept: one rule a file."""
from mm.keep.base import All, Keep
from mm.keep.pool import Pool
from mm.keep.vmtc import VMTC

__all__ = ["Keep", "All", "Pool", "VMTC"]
