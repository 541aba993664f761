"""Decoders of transformers on mm's attention, with their tokenizers and chat templates."""
from mm.language.base import Language
from mm.language.fresh import Fresh
from mm.language.pretrained import Pretrained
from mm.language.streams import Streams, insert
from mm.language.tokenizer import SavedTokenizer, Tokenizer
from mm.language.two_pass import two_pass
from mm.language.word_level import WordLevel

__all__ = ["Language", "Fresh", "Pretrained", "Tokenizer", "SavedTokenizer", "WordLevel", "two_pass", "insert",
           "Streams"]
