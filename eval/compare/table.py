"""The findings as text: one block a benchmark and run, one metric a line."""
from collections.abc import Iterable, Sequence
from itertools import groupby

from eval.compare.found import COST
from eval.frame.benchmark import Row

NONE = "–"
COST_HEADS = {"tokens_per_second": "tokens/s", "forwards_per_token": "forwards/token", "peak_memory_mb": "peak MB"}


def table(found: Row) -> str:
    """Of what `found.found` gives."""
    blocks = [_head(found), *(_block(found, list(each)) for _, each in groupby(found["comparisons"], lambda each: (each["benchmark"], each["run"]))),
              _costs(found), _foot(found)]
    return "\n\n".join(filter(None, blocks))


def number(value: float | None, sign: str = "") -> str:
    return NONE if value is None else f"{value:{sign}.4f}"


def p_text(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}" if value >= 0.001 else "<.001"


def summary(found: Row, run: str) -> str:
    """What is certain about a run, in one sentence."""
    tests = [each for each in found["comparisons"] if each["run"] == run and each["is_primary"]]
    said = []
    for verdict in ("better", "worse", "differs"):
        certain = [" ".join((each["benchmark"], each["metric"])) for each in tests if each["verdict"] == verdict]
        if certain:
            said.append(f"{verdict} in {', '.join(certain)}")
    rest = sum(each["verdict"] == "not certain" for each in tests)
    return f"{run}: " + ("; ".join([*said, f"{rest} of {len(tests)} tests not certain"]) if said else f"nothing certain in {len(tests)} tests")


def _head(found: Row) -> str:
    lines = [f"baseline: {found['baseline']} ({found['runs'][0]['given']})"]
    lines += [f"against it: {run['name']} ({run['given']})" for run in found["runs"][1:]]
    for each in found["differs"]:
        lines += [f"  {each['run']}: {item['what']} {item['first']} -> {item['second']}" for item in each["method"]]
    for each in found["differs"]:
        if each["besides"]:
            lines.append(f"NOT ONLY THE METHOD DIFFERS in {each['run']}:")
            lines += [f"  {item['what']}: {item['first']} -> {item['second']}" for item in each["besides"]]
    return "\n".join(lines)


def _block(found: Row, comparisons: Sequence[Row]) -> str:
    name, run = comparisons[0]["benchmark"], comparisons[0]["run"]
    results = [next(each for each in found["runs"] if each["name"] == which)["results"][name] for which in (found["baseline"], run)]
    width = max(len(each["metric"]) for each in comparisons)
    lines = [f"{name}, {run} against {found['baseline']}: n {results[1]['n']} against {results[0]['n']}, "
             f"unparsed {results[1]['unparsed']} against {results[0]['unparsed']}, parser {results[0]['parser']}",
             f"  {'':<{width}}  baseline       run  difference  95 % interval       McNemar   Holm"]
    lines += [_line(each, width) for each in comparisons]
    lines += [f"  note: at the same length, {each['cut_first']} captions of the baseline and {each['cut_second']} of the run are cut; "
              f"{each['words']:.1f} words are left on average"
              for each in found["same_length"] if (each["benchmark"], each["run"]) == (name, run)]
    return "\n".join(lines)


def _line(each: Row, width: int) -> str:
    d = each["difference"]
    between = NONE if d["low"] is None else f"[{d['low']:+.4f}, {d['high']:+.4f}]"
    tests = f"  {p_text(each['mcnemar']):>7}  {p_text(each['p_holm']):>5}  {each['verdict']}" if each["is_primary"] else ""
    return (f"{'* ' if each['is_primary'] else '  '}{each['metric']:<{width}}  {number(d['first']['value']):>8}  {number(d['second']['value']):>8}  "
            f"{number(d['value'], '+'):>10}  {between:<18}{tests}").rstrip()


def _costs(found: Row) -> str:
    heads = [COST_HEADS[name] for name in COST]
    lines = [f"  {run['name']}, {name}: " + ", ".join(f"{head} {_cost(each['cost'].get(key))}" for head, key in zip(heads, COST, strict=True))
             for run in found["runs"] for name, each in run["results"].items()]
    return "\n".join(["cost", *lines])


def _cost(value: float | None) -> str:
    return NONE if value is None else f"{value:,.2f}"


def _foot(found: Row) -> str:
    family = found["family"]
    lines = [*(summary(found, run["name"]) for run in found["runs"][1:]),
             f"* primary tests, {family['tests']} in all: {family['what']}.",
             f"Certain: p < {family['alpha']} after Holm's correction over all of them.",
             f"Intervals: bootstrap over pictures, {found['draws']:,} draws, uncorrected. p: the runs' answers to a picture exchanged at random.",
             *_fewer(found["comparisons"], found["draws"]), *(f"note: {remark}" for remark in found["remarks"])]
    return "\n".join(lines)


def _fewer(comparisons: Iterable[Row], draws: int) -> list[str]:
    """Which metrics got fewer draws, for they are dear."""
    fewer = dict.fromkeys((each["how"], each["difference"]["draws"]) for each in comparisons if each["difference"]["draws"] < draws)
    said = {"ranked": "areas under the curve", "recomputed": "metrics computed by the benchmark's own code, from halves of the pictures"}
    return [f"{count:,} draws only: {said[how]}." for how, count in fewer]
