"""Where tokens are: one rule a file."""
from mm.positions.base import Positions
from mm.positions.restart import Restart
from mm.positions.sequential import Sequential

__all__ = ["Positions", "Restart", "Sequential"]
