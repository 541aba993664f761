"""MMVP: Tong et al., "Eyes Wide Shut? Exploring the Visual Shortcomings of Multimodal LLMs", CVPR 2024.

150 pairs of pictures that CLIP takes for the same though they differ plainly, with one question of two options about both. Only who is right about
both is right.
"""
import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from eval.frame.benchmark import Item, Row, Scored
from eval.frame.choices import letters, share
from eval.frame.files import picture_in
from eval.judges import Judge, JudgedBenchmark, Prompt
from eval.parsers.lmms_eval import choice_of_two

QUESTIONS = 300
COLUMNS = ("Question", "Options", "Correct Answer")
CORRECTED = {99: "B", 100: "A", 279: "B", 280: "A"}  # question, counted from one -> its label in lmms-eval, swapped in the released file
LETTER = "\nAnswer with the option's letter from the given choices directly."
GRADE = """Somebody was asked: {question}
The right answer is: {truth}
They answered: {answer}

Is what they answered right? Reply with the single word yes or the single word no, in lower case and without a full stop."""


class MMVP(JudgedBenchmark):
    """Questions of the official file.

    With the parser "official" a judge compares each answer with the truth; its prompt is our own wording and asks for the official reply, yes or no.
    The parser "lmms_eval" looks for a letter, and corrects four labels as that harness does.

    Args:
        data: Questions.csv. images: folder of the pictures 1.jpg to 300.jpg ("MMVP Images").
        prompt: whose wording: "official" (question and options in a line), or "lmms_eval" (options A. and B. in lines, and the letter asked for).
        judge: who grades. grade_prompt: file with a wording of yours that has {question}, {truth} and {answer}.
    """

    parsers: ClassVar[tuple[str, ...]] = ("official", "lmms_eval")

    def __init__(self, data: str, images: str | None = None, prompt: Literal["official", "lmms_eval"] = "official", judge: Judge | None = None,
                 grade_prompt: str | None = None, max_new_tokens: int = 1024) -> None:
        super().__init__(judge, {"grade": Prompt.read(grade_prompt, GRADE, ("question", "truth", "answer"))}, max_new_tokens)
        self.data = data
        self.images = images
        self.prompt = prompt

    def items(self) -> list[Item]:
        return [
            Item(str(row["number"]), row["picture_file"], picture_in(self.images, row["picture_file"]), f"<image>\n{ask(row, self.prompt)}", row)
            for row in load(Path(self.data))]

    def consult(self, rows: Sequence[Row], folder: Path, parser: str) -> Sequence[Row]:
        if self._judge is None or parser != "official":
            return rows
        replies = self.replies("grade", [{"question": official_prompt(row), "truth": row["truth"], "answer": row["answer"]} for row in rows], folder)
        return [{**row, "grade": reply} for row, reply in zip(rows, replies, strict=True)]

    def cluster(self, row: Row) -> str:
        """A pair is scored as one."""
        return f"pair{(row['number'] - 1) // 2}"

    def judge(self, row: Row, parser: str) -> Row:
        return verdict(row, parser)

    def aggregate(self, rows: Sequence[Row]) -> Scored:
        return score(rows, self._judge.name if self._judge else None)

    def export(self, rows: Sequence[Row]) -> Mapping[str, Iterable[Row]]:
        return {"answers": [
            {"question_id": row["number"], "prompt": official_prompt(row), "answer": row["truth"], "response": row["answer"]} for row in rows]}


def official_prompt(row: Row) -> str:
    return f"{row['question']} {row['options']}"


def ask(row: Row, prompt: str) -> str:
    """The question in one of the wordings, without the picture."""
    if prompt == "official":
        return official_prompt(row)
    options = [text.strip() for text in re.split(r"\([a-z]\)", row["options"], flags=re.IGNORECASE) if text.strip()]
    return f"{row['question']}\n" + "\n".join(f"{letter}. {text}" for letter, text in zip(letters(options), options, strict=True)) + LETTER


# --- parse and score


def verdict(row: Row, parser: str) -> Row:
    """official: right where the judge's whole reply is "yes" in any case; "yes." is not. lmms_eval: right where the letter is the corrected label."""
    if parser == "lmms_eval":
        letter, label = choice_of_two(row["answer"]), CORRECTED.get(row["number"], row["label"])
        return {"choice": letter, "label": label, "corrected": label != row["label"], "matched": letter != "", "correct": letter == label}
    if "grade" not in row:
        return {"matched": row["answer"].strip() != ""}
    reply = row["grade"].lower()
    return {"matched": reply in ("yes", "no"), "correct": reply == "yes"}


def score(rows: Sequence[Row], judge: str | None = None) -> Scored:
    """Share of pairs with both answers right, and of right answers. Pairs are rows 2i and 2i + 1 of the file; a row without its other is in no pair.
    How many were answered at all where nobody has judged them."""
    pictures = [f"pair{(row['number'] - 1) // 2}" for row in rows]
    if any("correct" not in row for row in rows):
        remark = ("no judge was asked, so nothing is graded: give --mmvp.judge, or --parser lmms_eval, which asks none; the official grader runs on "
                  "the .answers.jsonl file")
        return Scored({"answered": share([row["matched"] for row in rows], pictures)}, len(rows), sum(not row["matched"] for row in rows), (remark,))
    pairs: dict[str, list[bool]] = {}
    for pair, row in zip(pictures, rows, strict=True):
        pairs.setdefault(pair, []).append(row["correct"])
    whole = {pair: all(answers) for pair, answers in pairs.items() if len(answers) == 2}
    scores = {"pair_accuracy": share(list(whole.values()), list(whole)), "accuracy": share([row["correct"] for row in rows], pictures)}
    corrected = [str(row["number"]) for row in rows if row.get("corrected")]
    remarks = [f"verdicts by {judge}"] * (judge is not None and any("grade" in row for row in rows))
    remarks += [f"the labels of questions {', '.join(corrected)} are corrected, as by lmms-eval"] * bool(corrected)
    remarks += [f"{len(pairs) - len(whole)} questions are without the other of their pair, and in no pair"] * (len(whole) < len(pairs))
    remarks += [f"{len(rows)} of the {QUESTIONS} questions were asked"] * (len(rows) != QUESTIONS)
    return Scored(scores, len(rows), sum(not row["matched"] for row in rows), tuple(remarks))


# --- official file


def load(path: Path) -> list[Row]:
    """Rows {number, picture_file, question, options, truth, label} in order: number from one, truth as in the file, "(a)", label its letter."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            records = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    if not records:
        raise ValueError(f"{path} holds no questions")
    found = []
    for number, record in enumerate(records, 1):
        question, options, truth = (str(record.get(name) or "").strip() for name in COLUMNS)
        letter = re.fullmatch(r"\(?([ab])\)?", truth.lower())
        if not question or letter is None or not re.fullmatch(r"\(a\).+\(b\).+", options.lower()):
            raise ValueError(f"{path}, question {number}: expected the columns {', '.join(COLUMNS)} with options like '(a) Open (b) Closed' and the "
                             f"answer (a) or (b); found {question[:60]!r}, {options[:60]!r} and {truth!r}")
        found.append({"number": number, "picture_file": f"{number}.jpg", "question": question, "options": options, "truth": truth,
                      "label": letter.group(1).upper()})
    return found
