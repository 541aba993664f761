"""What every benchmark shares: items and stages, batched resumable answers, intervals, the result file."""
