"""Benchmarks of ours in the files of other people's harnesses, and their predictions back under our scorers."""
