"""What is wrong with where words look: losses on cross-attention maps that text or latents are optimised by."""
from mm.diffusion.leakage.background import background_leakage
from mm.diffusion.leakage.balance import balance, peaks
from mm.diffusion.leakage.disjoint import disjoint
from mm.diffusion.leakage.given import dissimilarity, marginal_divergence, outside, unbound
from mm.diffusion.leakage.nouns import Columns, of_nouns
from mm.diffusion.leakage.objective import Objective, Term
from mm.diffusion.leakage.threshold import Threshold

__all__ = ["balance", "peaks", "disjoint", "background_leakage", "dissimilarity", "outside", "marginal_divergence", "unbound", "of_nouns", "Columns",
           "Objective", "Term", "Threshold"]
