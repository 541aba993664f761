"""Where tokens are: one rule a file."""
from mm.positions.base import Positions
from mm.positions.concentric import Concentric
from mm.positions.restart import Restart
from mm.positions.reverse_raster import ReverseRaster
from mm.positions.sequential import Sequential
from mm.positions.single_position import SinglePosition

__all__ = ["Positions", "Concentric", "Restart", "ReverseRaster", "Sequential", "SinglePosition"]
