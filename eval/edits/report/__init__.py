"""python -m eval.edits.report runs/edit: one self-contained HTML page of the edits that a run's model made of the world."""
