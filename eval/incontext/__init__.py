"""Prompts of several pictures: demonstrations with their answers, and a query; from the procedural world, and from the user's folders."""
