"""Attention as pairs (O, LSE): `attend` chooses the kernel, `merge` joins pairs, a plan says what is active."""
from mm.attention.backend import Backend
from mm.attention.kernels import attend
from mm.attention.part import AttentionPart, masses, merge
from mm.attention.plan import Plan, activated, active_plan
from mm.attention.products import Products
from mm.attention.record import Recorder
from mm.attention.reference import Reference
from mm.attention.sdpa import SDPA

__all__ = ["attend", "AttentionPart", "merge", "masses", "Plan", "active_plan", "activated", "Recorder", "Backend", "Products", "Reference", "SDPA"]
