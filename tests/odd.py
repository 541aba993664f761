"""Answers as nobody asked for them."""

ANSWERS = (
    "", "I am not able to see the picture, so I would rather talk of the weather, which is fine.", "yes and no", "Oui, bien sûr. 是的", "a" * 10_000)
