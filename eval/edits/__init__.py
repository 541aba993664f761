"""Editing of pictures, judged: PIE-Bench on the user's copy, and the procedural world, where the truth is known."""
