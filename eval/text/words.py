"""Words of a caption without a language library: lower-case, every punctuation mark a word of its own."""
import re


def words(text: str) -> list[str]:
    """["a", "red", "bus", "."] of "A red bus.". Hyphened words stay whole; clitics part as in treebanks ("isn't" -> "is", "n't")."""
    return _WORD.findall(_CLITIC.sub(r" \1", text.lower()))


_CLITIC = re.compile(r"(n't|'(?:s|re|ve|ll|d|m))\b")
_WORD = re.compile(r"n't\b|'(?:s|re|ve|ll|d|m)\b|\w+(?:[.\-'/&]\w+)*|[^\w\s]")
