"""Captions against pictures: which objects a picture holds, as COCO annotates it, and which of those that a caption names are among them."""
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from eval.frame.benchmark import Row
from eval.text.objects import Mentions, ObjectWords


def caption_row(image_id: Any, mentions: Mentions, truth: set[str]) -> Row:
    """Verdict on one caption: mentions without an object (repeats count), objects that are mentioned (types), metrics of this caption alone."""
    wrong = [[word, node] for word, node in zip(mentions.objects, mentions.nodes, strict=True) if node not in truth]
    right = set(mentions.nodes) & truth
    return {
        "image_id": image_id, "words": list(mentions.words), "generated": list(mentions.nodes), "hallucinated": wrong, "gt": sorted(truth),
        "recalled": sorted(right), "chair_s": int(bool(wrong)), "chair_i": len(wrong) / len(mentions.nodes) if mentions.nodes else 0.0,
        "recall": len(right) / len(truth) if truth else 0.0}


def ground_truth(
    instances: Iterable[tuple[Any, str]], captions: Iterable[tuple[Any, str]], object_words: ObjectWords,
) -> dict[Any, set[str]]:
    """Nodes of each image: categories of its instances, and the objects that its reference captions name."""
    found: dict[Any, set[str]] = {}
    for image, category in instances:
        node = object_words.synonyms.node(category)
        if node is None:
            raise ValueError(f"category {category!r} of image {image} is not in the synonym file; is it the file for this data set?")
        found.setdefault(image, set()).add(node)
    for image, caption in captions:
        found.setdefault(image, set()).update(object_words(caption).nodes)
    return found


def coco_annotations(files: Sequence[str], ids: set[int]) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """(image, category name) and (image, reference caption) of the given images, from COCO instances and captions files in any order."""
    instances: list[tuple[int, str]] = []
    captions: list[tuple[int, str]] = []
    for file in files:
        try:
            content = json.loads(Path(file).read_text(encoding="utf-8"))
            names = {category["id"]: category["name"] for category in content.get("categories", ())}
            for entry in content["annotations"]:
                if entry["image_id"] not in ids:
                    continue
                if "caption" in entry:
                    captions.append((entry["image_id"], entry["caption"]))
                else:
                    instances.append((entry["image_id"], names[entry["category_id"]]))
        except OSError as error:
            raise ValueError(f"cannot read the annotation file {file}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{file} is not a COCO annotation file ({type(error).__name__}: {error}); expected {{'annotations': [...], 'categories': [...]}}"
            ) from error
    if not instances or not captions:
        raise ValueError(
            f"{', '.join(files)} hold {len(instances)} instances and {len(captions)} captions of the {len(ids)} images; CHAIR needs both: "
            "give an instances_*.json and a captions_*.json of the same split")
    return instances, captions
