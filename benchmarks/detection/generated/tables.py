"""What the rows say, as tables, and how to see each of them again."""

from collections import defaultdict
from collections.abc import Callable, Iterable

from generated.running import Row
from generated.truth import Verdict

AGAIN = "python benchmarks/detection --case"


def is_found(row: Row) -> bool:
    """Whether anything was said at warning or worse when the training had ended."""
    return bool(row["found"])


def leaves_no_trace(row: Row) -> bool:
    """Whether nothing that can be recorded shows the fault: labels of other samples look like labels."""
    return row["accepted"] == ["unknown"]


def names_first(row: Row) -> bool:
    """Whether the first finding names a cause of the fault."""
    return bool(row["found"]) and row["found"][0]["cause"] in row["accepted"]


def names_another_first(row: Row) -> bool:
    """Whether the first finding names a cause that is not the fault's."""
    return bool(row["found"]) and row["found"][0]["cause"] not in (*row["accepted"], "unknown", "upstream")


def names_any(row: Row) -> bool:
    """Whether any finding does."""
    return any(one["cause"] in row["accepted"] for one in row["found"])


def accuses_another(row: Row) -> bool:
    """Whether a finding names a cause that is not the fault's."""
    return any(one["cause"] not in (*row["accepted"], "unknown", "upstream") for one in row["found"])


def by(rows: Iterable[Row], key: str) -> dict[str, list[Row]]:
    """Rows of one value each, in the order of these values; all of them last."""
    rows = list(rows)
    apart: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        apart[row[key] or "no fault"].append(row)
    return {**dict(sorted(apart.items())), "**all**": rows}


def share(rows: list[Row], test: Callable[[Row], bool]) -> str:
    """How many of how many."""
    return f"{sum(map(test, rows))} of {len(rows)}" if rows else "."


def table(rows: list[Row], key: str) -> str:
    """One line for each fault or architecture."""
    lines = [
        f"| {key} | failures found | total ones found | first cause right | first cause wrong "
        "| harmless: accused of what is not there | controls accused |",
        "|" + "---|" * 7,
    ]
    for name, own in by(rows, key).items():
        failed = [row for row in own if row["verdict"] == Verdict.FAILURE and not leaves_no_trace(row)]
        harmless = [row for row in own if row["verdict"] == Verdict.HARMLESS]
        controls = [row for row in own if row["verdict"] == Verdict.CONTROL]
        total = [row for row in failed if row["lost"] >= 0.9]
        lines.append(
            f"| {name} | {share(failed, is_found)} | {share(total, is_found)} | {share(failed, names_first)} "
            f"| {share(failed, names_another_first)} | {share(harmless, accuses_another)} "
            f"| {share(controls, is_found)} |"
        )
    return "\n".join(lines)


def one_line(row: Row) -> str:
    """A case, what was said of it, and its scores."""
    said = "; ".join(f"{one['rule']} ({one['severity']}, {one['cause']})" for one in row["found"]) or "nothing"
    score = "not finite" if row["score"] is None else f"{row['score']:.2f}"
    design = row["design"]
    what = (
        f"{design['data']}, {design['activation']}, {design['optimizer']} {design['lr']:g}, "
        f"{design['depth']} x {design['width']}{', normalised' if design['norm'] else ''}"
    )
    return f"- `{row['case']}` ({what}; {row['clean']:.2f} without, {score} with): {said}"


def lists(rows: list[Row]) -> str:
    """The cases to look at."""
    failed = [row for row in rows if row["verdict"] == Verdict.FAILURE and not leaves_no_trace(row)]
    wrong = [row for row in failed if names_another_first(row)]
    chosen = {
        "Failures missed": [row for row in failed if not row["found"]],
        "Failures found, a wrong cause named first": wrong,
        "Failures found, no cause named first": [
            row for row in failed if row["found"] and not names_first(row) and row not in wrong
        ],
        "Failures that leave no trace, of which a cause is named": [
            row for row in rows
            if row["verdict"] == Verdict.FAILURE and leaves_no_trace(row) and accuses_another(row)
        ],
        "Controls accused": [row for row in rows if row["verdict"] == Verdict.CONTROL and row["found"]],
        "Controls accused before the end only": [
            row for row in rows if row["verdict"] == Verdict.CONTROL and row["earlier"] and not row["found"]
        ],
        "Harmless faults: accused of what is not there": [
            row for row in rows if row["verdict"] == Verdict.HARMLESS and accuses_another(row)
        ],
        "Harmless faults: a finding without a cause": [
            row for row in rows
            if row["verdict"] == Verdict.HARMLESS and row["found"] and not accuses_another(row) and not names_any(row)
        ],
    }  # fmt: skip
    parts = []
    for title, own in chosen.items():
        parts.append(f"\n{title}: {len(own)}\n")
        parts += [one_line(row) for row in sorted(own, key=lambda row: (row["fault"] or "", row["case"]))]
    return "\n".join(parts)


def report(rows: list[Row]) -> str:
    """Everything."""
    counts = [f"{sum(row['verdict'] == verdict for row in rows)} {verdict}" for verdict in Verdict]
    unfit = [row for row in rows if row["verdict"] == Verdict.UNFIT]
    could_not_run = sum(row["error"] is not None for row in unfit)
    rows = [row for row in rows if row["verdict"] != Verdict.UNFIT]
    return "\n".join([
        f"{', '.join(counts)} ({could_not_run} of the unfit could not run).", "", table(rows, "fault"), "",
        table(rows, "architecture"), lists(rows), "", f"See one again: {AGAIN} NAME",
    ])  # fmt: skip
