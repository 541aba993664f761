"""A picture with captions that compete, after Wang et al., "Can Linguistic Knowledge Improve Multimodal Alignment in Vision-Language Pretraining?"
(SNARE), arXiv 2308.12898, 2023."""
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mm.sample import Media

CLASSES: Mapping[str, tuple[str, ...]] = {  # task -> what its captions are, in the official order
    "semantic_structure": ("correct", "content_shuffled", "other_shuffled", "all_shuffled"),
    "negation_logic": ("correct", "negated"),
    "attribute_ownership": ("correct", "exchanged", "respectively"),
    "relationship_composition": ("correct", "exchanged", "relation_removed"),
    "spatial_relations": ("to_the_left_of", "to_the_right_of", "on", "below")}


@dataclass(frozen=True)
class Case:
    """picture: name, the same for cases that see the same pixels. captions: one of each class; of equal ones the earlier wins. labels: which of them
    are right. group: what the case is about within its task, "" for nothing in particular. context: reads the picture without its objects, where that
    is known."""

    id: str
    task: str
    picture: str
    media: Callable[[], tuple[Media, ...]]
    captions: tuple[str, ...]
    labels: tuple[bool, ...]
    classes: tuple[str, ...]
    group: str = ""
    context: Callable[[], tuple[Media, ...]] | None = None

    def __post_init__(self) -> None:
        counts = len(self.captions), len(self.labels), len(self.classes)
        if len(set(counts)) > 1 or counts[0] < 2 or not any(self.labels):
            raise ValueError(f"case {self.id}: {counts[0]} captions, {counts[1]} labels, {counts[2]} classes; expected two or more captions with a "
                             "label and a class each, at least one of them right")


def polled(caption: str) -> str:
    """What SNARE asks about a caption where it can only ask: "is" or "are" comes to the front. (Read in the original code and not run; it also cuts
    "is" out of words, and joins the last word to "in the image?".)"""
    words = caption.rstrip(" .").split()
    verb = next((word for word in words if word in ("is", "are")), None)
    if verb is None:
        return f"are there {' '.join(words)} in the image?"
    words.remove(verb)
    return f"{verb} {' '.join(words)} in the image?"


def polled_in_world(caption: str) -> str:
    """The same as the world asks: "is there a red star , a blue ring ?"."""
    words = caption.rstrip(" .").split()
    if "is" not in words:
        return f"is there {' '.join(words)} ?"
    words.remove("is")
    return f"is {' '.join(words)} ?"
