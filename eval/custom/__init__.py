"""RealCustom on the world: does a word take its colour from a picture, and does the rest of the caption stay?"""
