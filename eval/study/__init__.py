"""Every mitigation on the same models and questions: what each changes, how certain that is, and what it costs."""
