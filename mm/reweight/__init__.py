"""How much mass: rules that change attention inside the layers of a model; one method a file."""
from mm.reweight.act import ACT
from mm.reweight.base import KeyChoice, KeyRewrite, LogitScale, Reweight, RowRule, Rule
from mm.reweight.cmai import CMAI
from mm.reweight.dara import DARA
from mm.reweight.dma import DMA
from mm.reweight.head_gate import HeadGate
from mm.reweight.moda import MODA
from mm.reweight.pai import PAI
from mm.reweight.paint import PAINT, token_sets
from mm.reweight.rules import Rules
from mm.reweight.sinks import SINK_CHANNELS, find_sink_channels
from mm.reweight.var import VAR
from mm.reweight.zerotuning import ZeroTuning

__all__ = ["Rule", "Reweight", "RowRule", "LogitScale", "KeyRewrite", "KeyChoice", "Rules", "VAR", "ACT", "ZeroTuning", "DARA", "PAI", "PAINT",
           "CMAI", "HeadGate", "MODA", "DMA", "SINK_CHANNELS", "find_sink_channels", "token_sets"]
