"""python -m eval.report runs/demo: one self-contained HTML page of a run, to look at and to send to a colleague."""
