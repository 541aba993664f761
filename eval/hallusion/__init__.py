"""What HallusionBench makes of marked answers: its file, its groups, its causes and its figures."""
