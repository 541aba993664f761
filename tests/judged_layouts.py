"""Copies of judged benchmarks in their official layouts, made up, with grey pictures."""
import csv
from pathlib import Path
from typing import Any

from PIL import Image

from tests.layouts import write_json

TYPES = ("attribute", "adversarial", "comparison", "counting", "relation", "environment", "holistic", "other")


def grey(path: Path, shade: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), (shade, shade, shade)).save(path)


def hallusion(category: str, subcategory: str, set_id: int, figure: int, question: int, truth: int) -> dict[str, Any]:
    """A row of HallusionBench: figure 0 is the original, later ones are edited."""
    seen = "0" if category == "VS" and figure == 0 else "1" if figure == 0 else "2"
    name = f"./{category}/{subcategory}/{set_id}_{figure}.png"
    return {"category": category, "subcategory": subcategory, "visual_input": seen, "set_id": str(set_id), "figure_id": str(figure),
            "sample_note": "made up", "question_id": str(question), "question": f"is there a {('star', 'ring')[question]} ?",
            "gt_answer_details": f"There is {'a' if truth else 'no'} {('star', 'ring')[question]}.", "gt_answer": str(truth),
            "filename": None if seen == "0" else name}


def hallusionbench(folder: Path) -> Path:
    """Two questions about two versions of a picture (VD), with and without one (VS); VD and VS have the subcategory ocr in common."""
    rows = [hallusion(category, "ocr", 0, figure, question, int(figure == question)) for category in ("VD", "VS") for figure in (0, 1)
            for question in (0, 1)]
    write_json(folder / "HallusionBench.json", rows)
    for number, name in enumerate(sorted({row["filename"] for row in rows if row["filename"]})):
        grey(folder / "images" / name, 60 + 50 * number)
    return folder


def mmhal(folder: Path, questions: int = 9) -> Path:
    """Pictures by the name at their source, the last one by its id."""
    rows = [{"question_type": TYPES[i % 8], "question_topic": "outdoor", "image_id": f"id{i}", "image_src": f"https://example.org/1/{i}_o.jpg",
             "image_content": ["Star", "Ring"], "question": "what do you see ?", "gt_answer": f"A star, {i}.", "model_answer": ""}
            for i in range(questions)]
    write_json(folder / "response_template.json", rows)
    for i in range(questions):
        grey(folder / "images" / (f"{i}_o.jpg" if i < questions - 1 else f"id{i}.png"), 20 * i)
    return folder


def mmvp(folder: Path, questions: int = 5) -> Path:
    """Two pairs, and a question without the other of its pair."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "Questions.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Index", "Question", "Options", "Correct Answer"])
        writer.writerows([i + 1, "is there a star, or a ring ?", "(a) A star (b) A ring", "(a)" if i % 2 else "(b)"] for i in range(questions))
    for i in range(questions):
        grey(folder / "images" / f"{i + 1}.jpg", 40 * i)
    return folder
