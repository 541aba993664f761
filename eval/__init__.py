"""Benchmarks, one a file: `python -m eval pope chair --model runs/demo`. The module's name is the benchmark's name; there is nothing to register."""
