"""Short rows that train on a CPU: two matrix products against the fused kernel, forward plus backward, CPU time.

    python -m bench.products

Prints, for each precision, row length and head width, how much of the fused kernel's time `mm.attention.Products` takes. Below 1 the products
win; a star marks where `attend` takes them.
"""
import time

import torch

from bench.machine import machine
from mm.attention import SDPA, Backend, Products
from mm.attention.kernels import checked

SHAPES = [(32, 64), (32, 168), (8, 384), (4, 768), (2, 1536)]  # rows, tokens
HEADS = [(4, 32), (2, 64)]  # heads, width


def seconds(backend: Backend, rows: int, tokens: int, heads: int, width: int, dtype: torch.dtype, repeats: int) -> float:
    """Least CPU time of forward and backward."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(rows, tokens, heads, width, dtype=dtype).transpose(1, 2).requires_grad_() for _ in range(3))
    mask = torch.ones(rows, 1, tokens, tokens, dtype=torch.bool).tril()
    upstream = torch.randn(rows, heads, tokens, width, dtype=dtype)
    times = []
    for _ in range(repeats):
        start = time.process_time()
        out = backend(checked(q, k, v, mask, False, None, 0.0), False).out
        out.backward(upstream)
        times.append(time.process_time() - start)
    return min(times)


def chosen(rows: int, tokens: int, heads: int, width: int, dtype: torch.dtype) -> bool:
    """Whether `attend` takes the products for this shape."""
    q = torch.zeros(1, heads, tokens, width, dtype=dtype, requires_grad=True)
    return Products().refuses(checked(q, q, q, None, False, None, 0.0), False) is None


def main(repeats: int = 7) -> None:
    torch.set_num_threads(1)
    print(machine())
    print("rows x tokens   heads x width   dtype      products / fused, forward + backward   (* what attend takes)")
    for dtype in (torch.bfloat16, torch.float32):
        for heads, width in HEADS:
            for rows, tokens in SHAPES:
                fused = seconds(SDPA(), rows, tokens, heads, width, dtype, repeats)
                products = seconds(Products(), rows, tokens, heads, width, dtype, repeats)
                star = "*" if chosen(rows, tokens, heads, width, dtype) else " "
                print(f"{rows:4d} x {tokens:<6d}   {heads:5d} x {width:<5d}   {str(dtype)[6:]:9s}  {products / fused:6.2f} {star}", flush=True)


if __name__ == "__main__":
    main()
