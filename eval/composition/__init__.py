"""Captions of which one is right and the others differ in how words go together: from the user's rows, and from scenes of the procedural world."""
