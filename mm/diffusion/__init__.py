"""Control of diffusion models: levers on the text-to-image stream, on self-attention and on latents."""
