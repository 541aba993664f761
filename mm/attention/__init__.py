"""Attention as pairs (O, LSE): `attend` chooses the kernel, `merge` joins pairs, a plan says what is active."""
from mm.attention.active import Active
from mm.attention.backend import Backend, repeat_heads
from mm.attention.call import Call
from mm.attention.columns import column_means
from mm.attention.engine import found_groups, reweigh, reweighted
from mm.attention.flex import Flex
from mm.attention.kernels import attend
from mm.attention.newest import Newest
from mm.attention.part import AttentionPart, masses, merge
from mm.attention.plan import Plan, activated, active_plan
from mm.attention.pooling import sliced_pooling
from mm.attention.products import Products
from mm.attention.record import Recorder
from mm.attention.reference import Reference
from mm.attention.sdpa import SDPA
from mm.attention.tiled import Tiled
from mm.attention.varlen import Varlen
from mm.attention.visibility import Blocks, Visibility

__all__ = ["attend", "AttentionPart", "merge", "masses", "Visibility", "Blocks", "Plan", "active_plan", "activated", "Recorder", "Newest", "reweigh",
           "reweighted", "found_groups", "column_means", "sliced_pooling", "Active", "Call", "Backend", "Products", "Reference", "SDPA", "Tiled",
           "Flex", "Varlen", "repeat_heads"]
