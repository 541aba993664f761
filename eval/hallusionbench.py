"""HallusionBench: Guan et al., "HallusionBench: An Advanced Diagnostic Suite for Entangled Language Hallucination and Visual Illusion in Large
Vision-Language Models", CVPR 2024.

1129 yes/no questions: 591 that only the picture answers (VD, visual dependent) and 538 that knowledge answers, too (VS, visual supplement). The same
question is asked about an original picture and edited ones, or without any picture (178 of VS). A judge says whether an answer is right.
"""
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from eval.frame.benchmark import Item, Row, Scored
from eval.frame.calibration import SPELLINGS
from eval.frame.files import picture_in
from eval.hallusion.causes import hinges, originals_of
from eval.hallusion.rows import FIELDS, figure_of, id_of, is_pictureless, load, pair_of, set_of
from eval.hallusion.score import score
from eval.judges import Judge, JudgedBenchmark, Prompt
from eval.parsers import reader
from eval.parsers.lmms_eval import yes_anywhere

CHECK = """You mark what a model answered to a question about a picture. You do not see the picture; the true answer tells you what is in it.

Question: {question}
True answer: {truth}
The model's answer: {answer}

Reply with one word. Say "correct" if the model's answer agrees with the true answer, "incorrect" if it contradicts it, and "unclear" if it commits
itself to neither."""
SAME = """A model was asked one question twice, about two versions of a picture or with and without one. Compare what it said.

First answer: {answer}
Second answer: {other}

Reply with one word: "same" if both can be true of one picture, "different" if they contradict each other."""


class HallusionBench(JudgedBenchmark):
    """Questions of the official file.

    With the parser "official" a judge marks each answer, and says where a wrong one is consistent with the answer about the original; both prompts
    are our own wording and ask for the official replies (correct, incorrect, unclear; same, different). Other parsers need no judge: "lmms_eval"
    (yes anywhere) and "vlmevalkit" (the words yes and no) score the rows with a picture only, as these harnesses do; "strict" (one word) all rows.

    Args:
        data: HallusionBench.json. images: the unpacked folder hallusion_bench, which holds VD and VS.
        suffix: text behind each question; the official question has none. Log-probabilities of Yes and No as whole answers are recorded beside the
            text, for `auc`, `ece` and `brier`: a model that explains itself gives both little, and only which of them is likelier counts.
        judge: who marks answers. check_prompt: file with a wording of yours that has {question}, {truth} and {answer}; same_prompt: likewise, with
            {answer} and {other}.
    """

    parsers: ClassVar[tuple[str, ...]] = ("official", "lmms_eval", "vlmevalkit", "strict")

    def __init__(self, data: str, images: str | None = None, suffix: str = "", judge: Judge | None = None, check_prompt: str | None = None,
                 same_prompt: str | None = None, max_new_tokens: int = 128) -> None:
        prompts = {"check": Prompt.read(check_prompt, CHECK, ("question", "truth", "answer")),
                   "same": Prompt.read(same_prompt, SAME, ("answer", "other"))}
        super().__init__(judge, prompts, max_new_tokens)
        self.data = data
        self.images = images
        self.suffix = suffix

    def items(self) -> list[Item]:
        found = []
        for row in load(Path(self.data)):
            seen = row["filename"] is not None
            picture = row["filename"] if seen else f"{set_of(row)} without picture"
            media = picture_in(self.images, row["filename"]) if seen else tuple
            found.append(Item(id_of(row), picture, media, "<image>\n" * seen + row["question"] + self.suffix, row, SPELLINGS))
        return found

    def consult(self, rows: Sequence[Row], folder: Path, parser: str) -> Sequence[Row]:
        if self._judge is None or parser != "official":
            return rows
        marks = self.replies("check", [
            {"question": row["question"], "truth": row["gt_answer_details"], "answer": row["answer"]} for row in rows], folder)
        marked = [{**row, "check_reply": reply, "check": mark(reply)} for row, reply in zip(rows, marks, strict=True)]
        originals = originals_of(marked)
        told = [row for row in marked if pair_of(row) in originals and hinges(row, originals[pair_of(row)])]
        said = self.replies("same", [{"answer": row["answer"], "other": originals[pair_of(row)]["answer"]} for row in told], folder)
        for row, reply in zip(told, said, strict=True):
            row["same_reply"] = reply
        return marked

    def cluster(self, row: Row) -> str:
        """Versions of a picture are scored as one."""
        return set_of(row)

    def judge(self, row: Row, parser: str) -> Row:
        return verdict(row, parser)

    def aggregate(self, rows: Sequence[Row]) -> Scored:
        return score(rows, self._judge.name if self._judge else None)

    def export(self, rows: Sequence[Row]) -> Mapping[str, Iterable[Row]]:
        """Answers as the official script reads them; with a judge's marks also as it leaves them, so that it goes on from there."""
        answers = [{**{key: row[key] for key in FIELDS if key in row}, "model_prediction": row["answer"]} for row in rows]
        if not any("check_reply" in row for row in rows):
            return {"official.json": answers}
        marks = [{"gpt4v_output_gpt_check": str(row["check"]), **({} if row["same"] is None else {"same": str(row["same"])})} for row in rows]
        return {"official.json": answers, "judged.official.json": [{**a, **m} for a, m in zip(answers, marks, strict=True)]}


# --- parse


def mark(reply: str) -> int:
    """What the official script makes of a judge's reply: 0 wrong, 1 right, 2 unclear. "incorrect" is looked for first; nothing is unclear."""
    text = reply.lower()
    return 0 if "incorrect" in text else 1 if "correct" in text else 2


def verdict(row: Row, parser: str) -> Row:
    """check (0 wrong, 1 right, 2 unclear) and same (1, 0) of a judge, or the prediction (yes, no, None) of a parser without; None where not said.

    counted: False for rows without a picture where the parser's harness has none of them. pair, figure: the groups that the row belongs to.
    """
    if parser == "official":
        if "check_reply" not in row:
            return {"matched": row["answer"].strip() != "", "check": None, "same": None}
        check, said = mark(row["check_reply"]), row.get("same_reply")
        correct = check == 1 or (check == 2 and is_pictureless(row))
        return {"check": check, "same": None if said is None else int("same" in said.lower()), "correct": correct, "counted": True,
                "matched": re.search("correct|unclear", row["check_reply"], re.IGNORECASE) is not None,
                "yes": correct == (row["gt_answer"] == "1"), **groups(row)}
    label = yes_anywhere(row["answer"]) if parser == "lmms_eval" else reader(parser, "yes_no")(row["answer"])
    matched = label is not None and (parser != "lmms_eval" or re.search(r"\b(yes|no)\b", row["answer"], re.IGNORECASE) is not None)
    found = {"prediction": label, "matched": matched, "correct": label == ("yes" if row["gt_answer"] == "1" else "no"), "yes": label == "yes"}
    return {**found, "counted": parser == "strict" or row["visual_input"] != "0", **groups(row, parser != "vlmevalkit")}


def groups(row: Row, by_category: bool = True) -> Row:
    """VLMEvalKit does not tell VD and VS apart in its groups, so that the sets of VD/ocr and VS/ocr with one number are one."""
    pair, figure = pair_of(row), figure_of(row)
    return {"pair": pair if by_category else pair.partition("/")[2], "figure": figure if by_category else figure.partition("/")[2]}
