"""Our models inside other people's evaluation harnesses. Nothing else of mm knows these; each harness is imported in its own module only."""
