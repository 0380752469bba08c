"""Write the pages that are drawn from the code itself: activations, thresholds, API. `make docs` runs it."""

import ast
import inspect
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import rectifier
from rectifier.catalogue import CATALOGUE, Choice, parse
from rectifier.diagnosis import thresholds

HERE = Path(__file__).parent
REACH = 4.0
WIDTH, HEIGHT, MARGIN = 360, 240, 24
SUBJECTS = (
    "units",
    "updates",
    "sides",
    "signal",
    "progress",
    "checkpoint",
    "parameters",
    "not_finite",
    "output",
    "setup",
    "explain",
)
"""Of the thresholds, in the order of the page: one file each."""


def main() -> None:
    """Write `pages/generated` anew."""
    folder = HERE / "pages" / "generated"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in CATALOGUE:
        (folder / f"{name}.svg").write_text(curve(parse(name)), encoding="utf-8")
    (folder / "activations.md").write_text(activations(), encoding="utf-8")
    (folder / "thresholds.md").write_text(limits(), encoding="utf-8")
    (folder / "api.md").write_text(api(), encoding="utf-8")


def activations() -> str:
    """Every row of the catalogue: formula, derivative, where it is flat, gain, paper, picture."""
    names = ", ".join(f"[{name}](#{name})" for name in CATALOGUE)
    parts = [
        "# Activations",
        "Drawn from the catalogue that the rest of Rectifier works with. An activation is written `name` or "
        "`name:parameter` everywhere: `relu`, `leaky_relu:0.1`. Solid: f(z). Dashed: f′(z). The *gain* is "
        "1/√E[f(z)²] for z ~ N(0, 1): weights of standard deviation gain/√fan-in keep the mean square of the signal. "
        "`rectifier activations` prints the same facts in the terminal.",
        names,
    ]
    for name, row in CATALOGUE.items():
        choice = parse(name)
        facts = {
            "f(z)": f"`{row.formula}`",
            "f′(z)": f"`{row.derivative}`",
            "flat": row.flat,
            "gain": f"{choice.gain:.4g}",
            "parameter": "none" if row.parameter is None else f"`{row.parameter}`, {row.default:g} by default",
            "torch": "none" if row.module is None else f"`torch.nn.{row.module}`",
            "also called": ", ".join(f"`{alias}`" for alias in row.aliases),
            "paper": row.paper,
        }
        # A bar within a cell would end it.
        cells = [f"| {key} | {value.replace('|', chr(92) + '|')} |" for key, value in facts.items() if value]
        parts += [f"## {name}", f"![f and its derivative of {name}, from −4 to 4]({name}.svg)"]
        parts.append("\n".join([cells[0], "|---|---|", *cells[1:]]))
    return "\n\n".join(parts) + "\n"


def curve(choice: Choice) -> str:
    """An SVG of f and f′ between −4 and 4, readable on light and on dark."""
    z = np.linspace(-REACH, REACH, 401)
    value, slope = choice.value(z), choice.derivative(z)
    low = max(min(value.min(), slope.min(), -0.5), -REACH)
    high = min(max(value.max(), slope.max(), 1.5), REACH)

    def x(at: float) -> float:
        return MARGIN + (at + REACH) / (2 * REACH) * (WIDTH - 2 * MARGIN)

    def y(at: float) -> float:
        return HEIGHT - MARGIN - (at - low) / (high - low) * (HEIGHT - 2 * MARGIN)

    def line(values: np.ndarray, style: str) -> Iterator[str]:
        jumps = np.flatnonzero(np.abs(np.diff(values)) > 20 * (z[1] - z[0])) + 1
        for part in np.split(np.arange(len(z)), jumps):
            shown = [index for index in part if low - 1e-9 <= values[index] <= high + 1e-9]
            if len(shown) > 1:
                points = " ".join(f"{x(z[index]):.1f},{y(values[index]):.1f}" for index in shown)
                yield f'<polyline points="{points}" fill="none" stroke-width="2.2" {style}/>'

    labels = [
        f'<text x="{x(at):.1f}" y="{y(0) + 14:.1f}" text-anchor="middle">{at:+d}</text>' for at in (-4, -2, 2, 4)
    ] + [f'<text x="{x(0) - 5:.1f}" y="{y(at) + 4:.1f}" text-anchor="end">{at:+d}</text>' for at in (1,)]
    axes = (
        f'<path d="M{MARGIN} {y(0):.1f}H{WIDTH - MARGIN}M{x(0):.1f} {MARGIN}V{HEIGHT - MARGIN}" stroke="#8a929b" '
        'stroke-width="1"/>'
    )
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="11" fill="#77808A">',
        axes, *labels,
        *line(slope, 'stroke="#D55E00" stroke-dasharray="6 4"'), *line(value, 'stroke="#0072B2"'),
        "</svg>", "",
    ])  # fmt: skip


def limits() -> str:
    """Every threshold with the words that stand below it in the source."""
    parts = [
        "# Thresholds",
        "Everything that the diagnosis compares with, copied from `diagnosis/thresholds/`. Nothing else in the "
        "package decides good or bad.",
    ]
    for subject in SUBJECTS:
        body = ast.parse(inspect.getsource(getattr(thresholds, subject))).body
        for statement, words in zip(body, [*body[1:], None], strict=True):
            if not isinstance(statement, ast.Assign):
                continue
            name = statement.targets[0].id
            said = inspect.cleandoc(words.value.value).replace("\n", " ") if _is_text(words) else ""
            value = getattr(thresholds, name)
            shown = ", ".join(f"{one:,}" for one in value) if isinstance(value, tuple) else f"{value:,}"
            parts.append(f"**{name.lower().replace('_', ' ')}: {shown}**  \n{said}")
    return "\n\n".join(parts) + "\n"


def _is_text(statement: ast.stmt | None) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def api() -> str:
    """The public names, by the place where each is defined; mkdocstrings renders their docstrings."""
    parts = ["# API", "Everything below is imported from `rectifier`.", "## Functions and classes"]
    modules = []
    for name in sorted(rectifier.__all__, key=str.lower):
        value = getattr(rectifier, name)
        if inspect.ismodule(value):
            modules.append((name, value))
        elif callable(value):
            parts.append(f"::: {value.__module__}.{value.__qualname__}")
    for name, module in modules:
        parts += [f"## rectifier.{name}", inspect.cleandoc(module.__doc__ or "")]
        for public in _public(module):
            value = getattr(module, public)
            parts.append(f"::: {value.__module__}.{value.__qualname__}")
    return "\n\n".join(parts) + "\n"


def _public(module: object) -> list[str]:
    """Names of ours in a module that also re-exports torch's."""
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    ours = [name for name in names if getattr(getattr(module, name), "__module__", "").startswith("rectifier.")]
    return sorted((name for name in ours if callable(getattr(module, name))), key=str.lower)


if __name__ == "__main__":
    main()
