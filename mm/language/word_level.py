"""A tokenizer whose tokens are words: for the embedded world and for tests, where a vocabulary of a few dozen words is all there is."""
from pathlib import Path

from tokenizers import Regex, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Core
from tokenizers.models import WordLevel as Words
from transformers import PreTrainedTokenizerFast

from mm.language.tokenizer import Tokenizer

SPECIAL = ("<pad>", "<eos>", "<unk>", "<user>", "<assistant>")
# Three tokens a turn beside its words: short rows are fast rows.
TEMPLATE = ("{% for m in messages %}{% if m.role == 'user' %}<user> {{ m.content }} <assistant>"
            "{% elif m.role == 'assistant' %} {{ m.content }} <eos>{% else %}{{ m.content }} {% endif %}{% endfor %}")


class WordLevel(Tokenizer):
    """Lower-cased words and punctuation marks, each one token; a word outside `words` is `<unk>`.

    words: the vocabulary, or a text file with one word a line. Order gives the ids, after the special tokens.
    """

    def __init__(self, words: list[str] | str | Path) -> None:
        self.words = words if isinstance(words, list) else Path(words).read_text(encoding="utf-8").split()
        if not self.words:
            raise ValueError(f"WordLevel: the vocabulary is empty (words={words!r}); give at least one word")

    def read(self) -> PreTrainedTokenizerFast:
        words = dict.fromkeys([*SPECIAL, *(word.lower() for word in self.words)])
        vocabulary = {word: index for index, word in enumerate(words)}
        core = Core(Words(vocabulary, unk_token="<unk>"))
        core.normalizer = normalizers.Lowercase()
        core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|[^\w\s]"), behavior="removed", invert=True)
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", additional_special_tokens=list(SPECIAL[3:]),
            clean_up_tokenization_spaces=False)
        tokenizer.chat_template = TEMPLATE
        return tokenizer
