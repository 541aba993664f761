"""Small tokenisers of every kind, and the real one of CLIP from the vocabulary that open_clip brings."""
import gzip
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer, GemmaTokenizer, Qwen2Tokenizer, T5Tokenizer

from mm.diffusion.columns import NEUTRAL, Columns
from mm.diffusion.edit import WordEdit
from mm.diffusion.moment import Moment
from mm.diffusion.prompt import Prompt, Span

START, END = "<|startoftext|>", "<|endoftext|>"


@cache
def clip(length: int = 77) -> CLIPTokenizer:
    """The tokeniser of SD-1, SD-2, SDXL and SD3."""
    where = find_spec("open_clip")
    assert where is not None
    assert where.origin is not None
    with gzip.open(Path(where.origin).parent / "bpe_simple_vocab_16e6.txt.gz", "rt", encoding="utf-8") as file:
        pairs = [tuple(line.split()) for line in file.read().split("\n")[1:49152 - 256 - 2 + 1]]
    signs = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]  # bytes, those that print first
    pieces = [*signs, *(sign + "</w>" for sign in signs), *("".join(pair) for pair in pairs), START, END]
    return CLIPTokenizer(vocab={piece: id for id, piece in enumerate(pieces)}, merges=pairs, model_max_length=length)


def t5(words: Sequence[str]) -> T5Tokenizer:
    """Words whole, anything else in letters."""
    letters = sorted({letter for word in words for letter in word} | set("abcdefghijklmnopqrstuvwxyz,.▁"))
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *(("▁" + word, -1.0) for word in words), *((letter, -5.0) for letter in letters)]
    return T5Tokenizer(vocab=vocab, extra_ids=0)


def _pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    """Merges that build each word from its left end."""
    pairs: dict[tuple[str, str], None] = {}
    for word in words:
        for end in range(1, len(word)):
            pairs[word[:end], word[end]] = None
    return list(pairs)


def gemma(words: Sequence[str]) -> GemmaTokenizer:
    """SentencePiece BPE that keeps blanks as marks."""
    marked = ["▁" + word for word in words] + ["▁▁"]
    letters = sorted({letter for word in marked for letter in word} | set("abcdefghijklmnopqrstuvwxyzEPUTBGS\n:-,.()'!"))
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", *letters, *dict.fromkeys("".join(pair) for pair in _pairs(marked))]
    return GemmaTokenizer(vocab={piece: id for id, piece in enumerate(dict.fromkeys(pieces))}, merges=_pairs(marked))


def qwen(words: Sequence[str]) -> Qwen2Tokenizer:
    """Byte-level BPE."""
    marked = ["Ġ" + word for word in words]
    pieces = [*sorted(ByteLevel.alphabet()), *("".join(pair) for pair in _pairs(marked)), "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return Qwen2Tokenizer(vocab={piece: id for id, piece in enumerate(dict.fromkeys(pieces))}, merges=_pairs(marked),
                          additional_special_tokens=["<|im_start|>", "<|im_end|>"])


def prompt(text: str, ids: Sequence[int], pieces: Sequence[str], length: int = 77) -> Prompt:
    """A prompt from ids and pieces that were recorded."""
    return Prompt(text, (Span(0, length, tuple(ids), tuple(pieces)),))


def composed(edits: Sequence[WordEdit], source: Prompt, target: Prompt, moment: Moment) -> Columns:
    """All edits in order, each as far as its gate is open."""
    columns = NEUTRAL
    for edit in edits:
        columns = columns.mixed(edit.change(columns, source, target), edit.gate(target, moment))
    return columns
