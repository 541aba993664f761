"""Attention methods of vision encoders: which features see which, and how a class is read from them. One file an idea."""
from mm.vision.attention.bilevel_routing import BilevelRouting
from mm.vision.attention.cross import CrossAttention
from mm.vision.attention.dcal import DCAL, Trunk, random_partners
from mm.vision.attention.global_local import GlobalLocal, top_patches
from mm.vision.attention.lanes import lane_block, summaries
from mm.vision.attention.multi_lane import MultiLane
from mm.vision.attention.pairwise import pairwise_attention
from mm.vision.attention.regional import regional_attention
from mm.vision.attention.rollout import Attended, rollout_row
from mm.vision.attention.windows import Windows

__all__ = ["BilevelRouting", "regional_attention", "Windows", "Attended", "rollout_row", "GlobalLocal", "top_patches", "pairwise_attention", "DCAL",
           "Trunk", "random_partners", "MultiLane", "lane_block", "summaries", "CrossAttention"]
