"""Ways to read a class from a frozen encoder, compared on the world: linear and efficient probing, a transformer block, and DCAL."""
