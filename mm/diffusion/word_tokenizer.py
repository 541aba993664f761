"""A CLIP tokenizer whose tokens are words: Sennrich, Haddow & Birch, "Neural Machine Translation of Rare Words with Subword Units", ACL 2016, with
merges that put every word of a small vocabulary together and nothing else."""
from collections.abc import Sequence

from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"


def word_tokenizer(words: Sequence[str], length: int) -> CLIPTokenizer:
    """words: lower case letters only, each becomes one token. length: tokens of a padded caption, start and end included.

    Merges grow words from their last letter, which alone is marked as such: in any word just one merge is possible at a time, so no word can be
    taken apart by the merges of another, whatever their order. Ends of words are tokens too, as in any such vocabulary; a word outside of it falls
    apart into them. ValueError for a word with other characters, which CLIP would split.
    """
    wrong = [word for word in words if not (word.isascii() and word.isalpha() and word.islower())]
    if wrong or not words or length < 3:
        raise ValueError(f"word_tokenizer: {wrong or list(words)} and length {length}; expected words of lower case letters, length 3 or more.")
    vocabulary = {START: 0, END: 1}
    merges: dict[str, None] = {}
    for word in words:
        vocabulary.setdefault(word + WORD_END, len(vocabulary))
    for word in words:
        ends = [word[k:] + WORD_END for k in range(len(word))]
        for piece in [*ends, *word]:
            vocabulary.setdefault(piece, len(vocabulary))
        merges |= dict.fromkeys(f"{letter} {end}" for letter, end in zip(word[:-1], ends[1:], strict=True))
    pairs = [tuple(merge.split(" ")) for merge in merges]
    return CLIPTokenizer(vocab=vocabulary, merges=pairs, bos_token=START, eos_token=END, pad_token=END, unk_token=END, model_max_length=length)  # type: ignore[arg-type]
