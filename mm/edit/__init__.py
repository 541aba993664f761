"""python -m mm.edit: one edit on a local diffusers model, and a page that shows what it did."""
