"""Which weights a model has, so that answers of others are not taken for its own."""
import hashlib
from pathlib import Path

BLOCKS, BLOCK = 64, 2**16  # of a weights file that make its fingerprint
SETTLES = ("*config.json", "*token*.json", "chat_template.*", "vocab.*", "merges.txt", "*.model")  # beside weights: what is read, and how


def fingerprint(directory: Path) -> str:
    """Of the weights file: its size and 64 blocks spread over it, so that a large model costs no more than a small one."""
    files = sorted(directory.glob("*.safetensors")) or sorted((directory / "model").glob("*.safetensors"))
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name} {size}".encode())
        with file.open("rb") as content:
            for i in range(BLOCKS):
                content.seek(max(0, size - BLOCK) * i // (BLOCKS - 1))
                digest.update(content.read(BLOCK))
    return digest.hexdigest()[:16]


def surroundings(directory: Path) -> str:
    """Fingerprint of what lies beside the weights of a pretrained model or adapter and decides its answers: configuration, processor, tokenizer, chat
    template."""
    digest = hashlib.sha256()
    for file in sorted({file for pattern in SETTLES for file in directory.glob(pattern)}):
        digest.update(f"{file.name} {file.stat().st_size} ".encode() + file.read_bytes())
    return digest.hexdigest()[:16]
