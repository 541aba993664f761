"""What levers cost, in one run: prefill under masks and rules against the plain kernel, and a decoding step of a whole decoder under each lever.

    python -m bench.attention

One thread, float32 on a CPU. Its three parts are commands of their own: `bench.masks`, `bench.reweight`, `bench.steps`.
"""
from bench import masks, reweight, steps


def main() -> None:
    for part in (masks, reweight, steps):
        print(f"\n{part.__doc__.splitlines()[0] if part.__doc__ else part.__name__}\n")
        part.main()


if __name__ == "__main__":
    main()
