"""python -m eval.clients.lmms_eval pope skills --out tasks [--limit N] [--pope.k 3 ...]

Writes yes/no benchmarks as tasks that lmms-eval runs offline: `mm_<benchmark>_<split>`, and a group `mm_<benchmark>` of them. docs/lmms-eval.md has
the commands. The tasks name their questions by absolute path: export again where the folder is to go.
"""
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import yaml

from eval.clients import yes_no
from eval.clients.asked import by_split, labelled, parse, pngs, text_of
from eval.frame.benchmark import Benchmark, Item, Row
from eval.frame.prompted import limit_of
from eval.frame.result import write
from eval.frame.runner import limited

AGGREGATIONS = dict(zip(yes_no.METRICS, ("accuracy", "precision", "recall", "f1_score", "yes_ratio_of_truth", "yes_ratio", "unparsed"), strict=True))


@dataclass(frozen=True)
class Options:
    """
    Args:
        out: new or empty folder of the tasks.
        limit: questions about the first N pictures of each split only.
    """

    out: str
    limit: int | None = None


class Function(str):
    """A function of the file beside the YAML."""


class Tasks(yaml.SafeDumper):
    """YAML with lmms-eval's tag of functions."""


Tasks.add_representer(Function, lambda dumper, name: dumper.represent_scalar("!function", f"yes_no.{name}"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status; errors of the user's making are one line on stderr."""
    try:
        options, benchmarks = parse("python -m eval.clients.lmms_eval", __doc__ or "", Options, sys.argv[1:] if arguments is None else arguments)
        out = Path(options.out).resolve()
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ValueError(f"{out} exists and is not an empty folder; an export does not overwrite: name another, or remove it")
        asked = {name: limited(benchmark.items(), options.limit) for name, benchmark in benchmarks.items()}
        for item in chain.from_iterable(asked.values()):  # all before anything is written
            text_of(item), labelled(item)
        for name, benchmark in benchmarks.items():
            print(*export(name, benchmark, asked[name], out), sep="\n")
    except (ValueError, OSError) as error:
        print(f"eval.clients.lmms_eval: {error}", file=sys.stderr)
        return 2
    return 0


def export(name: str, benchmark: Benchmark, items: Sequence[Item], out: Path) -> list[str]:
    """Writes a task for each split, and returns their names. ValueError for items that are no yes/no questions about pictures."""
    pictures: dict[str, list[str]] = {}
    (out / "images").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(yes_no.__file__, out / "yes_no.py")
    tasks = []
    for split, part in by_split(items):
        stem = "_".join(filter(None, (name, split.replace("/", "_"))))
        docs = [_doc(item, pictures, out) for item in part]
        length = max(limit_of(item, benchmark.max_new_tokens) for item in part)
        write(out / f"{stem}.jsonl", "".join(json.dumps(doc, ensure_ascii=False) + "\n" for doc in docs))
        tasks.append(f"mm_{stem}")
        write(out / f"{stem}.yaml", yaml.dump(_task(tasks[-1], out / f"{stem}.jsonl", length), Dumper=Tasks, sort_keys=False))
    if tasks != [f"mm_{name}"]:
        write(out / f"{name}.yaml", yaml.safe_dump({"group": f"mm_{name}", "task": tasks}, sort_keys=False))
    return tasks


def _doc(item: Item, pictures: dict[str, list[str]], out: Path) -> Row:
    if item.picture not in pictures:
        stem = f"images/{item.picture.replace('/', '_')}"
        pictures[item.picture] = []
        for number, png in enumerate(pngs(item)):
            pictures[item.picture].append(f"{stem}.png" if not number else f"{stem}.{number}.png")
            (out / pictures[item.picture][-1]).write_bytes(png)
    return {"id": item.id, "images": pictures[item.picture], "question": text_of(item), "label": labelled(item)}


def _task(task: str, questions: Path, max_new_tokens: int) -> Row:
    """until: nothing, else lmms-eval stops at two line breaks, and our runner does not."""
    return {
        "task": task, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(questions)}}, "test_split": "test",
        "output_type": "generate_until", "doc_to_visual": Function("doc_to_visual"), "doc_to_text": Function("doc_to_text"), "doc_to_target": "label",
        "generation_kwargs": {"max_new_tokens": max_new_tokens, "temperature": 0, "num_beams": 1, "do_sample": False, "until": []},
        "process_results": Function("process_results"),
        "metric_list": [{"metric": metric, "aggregation": Function(name), "higher_is_better": metric != "unparsed"}
                        for metric, name in AGGREGATIONS.items()],
        "metadata": [{"version": 1.0}]}


if __name__ == "__main__":
    raise SystemExit(main())
