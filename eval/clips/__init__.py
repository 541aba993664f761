"""The order of time: what masks of Video-CCAM and cross-attention of CrossLMM are worth, on clips whose order is all that is asked about."""
