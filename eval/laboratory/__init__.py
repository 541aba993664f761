"""python -m eval.laboratory OUT: the embedded world as a laboratory; one lever exchanged at a time, everything else the same."""
