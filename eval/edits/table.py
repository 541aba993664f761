"""Results as tables in Markdown, a row each."""
from collections.abc import Sequence
from typing import NamedTuple

from eval.edits.scores import EditResult
from eval.frame.benchmark import Row


class Column(NamedTuple):
    """head: for readers. digits behind the point, after multiplying by `times`."""

    metric: str
    head: str
    digits: int = 2
    times: float = 1


WORLD = (
    Column("source_right", "source right"), Column("edit_recognised", "edit recognised ↑"), Column("other_kept", "other object kept ↑"),
    Column("other_mse", "other-object MSE ×10⁴ ↓", 1, 1e4), Column("background_mse", "background MSE ×10⁴ ↓", 1, 1e4),
    Column("target_iou", "target IoU ↑"), Column("recoloured", "source region in new colour ↑"))
PIE = (
    Column("structure", "structure ×10³ ↓", 2, 1e3), Column("psnr", "PSNR ↑"), Column("lpips", "LPIPS ×10³ ↓", 2, 1e3),
    Column("mse", "MSE ×10⁴ ↓", 2, 1e4), Column("ssim", "SSIM ×10² ↑", 2, 1e2), Column("psnr_masked", "true PSNR ↑"),
    Column("lpips_masked", "true LPIPS ×10³ ↓", 2, 1e3), Column("mse_masked", "true MSE ×10⁴ ↓", 2, 1e4),
    Column("ssim_masked", "true SSIM ×10² ↑", 2, 1e2), Column("clip", "CLIP ↑"), Column("clip_edited", "CLIP edited part ↑"),
    Column("clip_direction", "CLIP direction ↑", 3))


def table(rows: Sequence[tuple[str, dict[str, Row]]], columns: Sequence[Column]) -> str:
    """rows: name and scores. Values with their 95 % intervals; columns that no row has are left out."""
    there = [column for column in columns if any(_there(scores, column) for _, scores in rows)]
    lines = [["", *(column.head for column in there)], ["---"] * (len(there) + 1)]
    lines += [[name, *(_cell(scores, column) for column in there)] for name, scores in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def world_tables(results: Sequence[EditResult]) -> str:
    """One table a kind of edit."""
    parts = []
    for kind in dict.fromkeys(result.benchmark for result in results):
        of_kind = [result for result in results if result.benchmark == kind]
        n = of_kind[0].scores["source_right"]["n"]
        title = f"{kind.partition('/')[2].capitalize()} swaps, {n} pairs, 95 % intervals over pictures"
        parts.append(title + "\n\n" + table([(result.recipe["name"], result.scores) for result in of_kind], WORLD))
    return "\n\n".join(parts) + "\n"


def pie_table(result: EditResult, groups: Sequence[str]) -> str:
    """All edits, then each type."""
    rows = [("all", result.scores)]
    for group in groups:
        inside = {name.partition("/")[2]: score for name, score in result.scores.items() if name.startswith(f"{group}/")}
        if inside:
            rows.append((group, inside))
    return table([(f"{name} ({scores['n']['n']})", scores) for name, scores in rows], PIE) + "\n"


def _there(scores: dict[str, Row], column: Column) -> bool:
    return scores.get(column.metric, {}).get("value") is not None


def _cell(scores: dict[str, Row], column: Column) -> str:
    if not _there(scores, column):
        return "–"
    score = scores[column.metric]
    value, low, high = (f"{score[key] * column.times:.{column.digits}f}".replace("-", "−") if score[key] is not None else "–"
                        for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
