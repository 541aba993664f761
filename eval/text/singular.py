"""Singular of an English noun by rule, as the original CHAIR code asks of each word of a caption.

The rule is applied blindly to every word, as there: "this" becomes "thi", "bus" becomes "bu", "ties" becomes "ty". CHAIR scores published with that
code contain these slips, so they are kept; a lemmatiser (`eval.text.wordnet`) does not make them.
"""

def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "oxen": "ox", "mice": "mouse", "lice": "louse", "dice": "die",
    "geese": "goose", "feet": "foot", "teeth": "tooth", "brethren": "brother", "kine": "cow", "pence": "penny"}
SAME_IN_PLURAL = _words(
    "bison bream breeches chassis cod corps debris deer elk flounder gallows graffiti headquarters herpes mackerel mumps news pincers pliers "
    "proceedings rabies salmon scissors series sheep shears species swine swiss trout tuna whiting")
NOT_PLURAL_MEN = _words("specimen abdomen regimen acumen cyclamen stamen")
VES_OF_F = _words("calves halves elves selves shelves wolves leaves loaves sheaves thieves hooves scarves dwarves wharves")
VES_OF_FE = _words("knives wives lives midwives")
IES_OF_IE = _words(
    "birdies brownies calories collies cookies cuties doggies foodies genies goalies hippies hoodies hoagies magpies movies newbies pixies prairies "
    "rookies selfies smoothies softies veggies weenies yuppies zombies")
OES_OF_OE = _words("shoes toes hoes canoes oboes aloes foes woes tiptoes horseshoes snowshoes")


def singular(word: str) -> str:
    """Singular of a lower-case word; a word that does not look plural comes back as it is."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word in SAME_IN_PLURAL or word in NOT_PLURAL_MEN or len(word) < 3:
        return word
    for plural in ("women", "men", "children", "people"):  # policemen, schoolchildren, salespeople
        if word.endswith(plural) and len(word) > len(plural) + 2:
            return word[: -len(plural)] + IRREGULAR[plural]
    return _by_ending(word)


def _by_ending(word: str) -> str:
    if not word.endswith("s"):
        return word
    if word in VES_OF_F:
        return word[:-3] + "f"
    if word in VES_OF_FE:
        return word[:-3] + "fe"
    if word.endswith("ies") and word not in IES_OF_IE:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zzes")) or word in ("buses", "gases", "viruses"):
        return word[:-2]
    if word.endswith("oes") and word not in OES_OF_OE:
        return word[:-2]
    return word[:-1]
