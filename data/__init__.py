"""Where samples come from: one source format a file. Yields `mm.sample.Sample`; knows nothing of models."""
