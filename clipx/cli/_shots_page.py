"""The page of ``clipx eval --shots``: accuracy over shots, drawn and as a table."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from string import Template
from typing import TYPE_CHECKING, Any

from clipx.cli._eval_output import control_of, table_of
from clipx.cli._html import data_uri, document

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = Mapping[str, Any]
LEAST_SPAN = 10.0  # points of the accuracy axis, so that noise does not look like a difference


def shots_page(record: Mapping[str, Any]) -> str:
    """The whole page. It asks for nothing over a network: its policy forbids it.

    Args:
        record: of ``clipx eval`` with ``--shots``.
    """
    rows, subsets = record["results"], ", ".join(" ".join((k, *v)) for k, v in record["subsets"].items())
    headings, lines = table_of(rows)
    left_out = "".join(f"<p>{escape(name)} is left out: {escape(why)}.</p>" for name, why in record["left_out"].items())
    title = f"{record['dataset']} {subsets}".strip()
    body = _BODY.substitute(
        title=escape(title),
        lead=escape(
            f"{record['n']:,} samples, {record['labels']} labels, {record['modality']} in {record['space']} "
            f"(regime: {record['regime']})"
        ),
        plot=data_uri("image/svg+xml", figure_svg(shots_figure(rows))),
        headings="".join(f"<th>{escape(heading)}</th>" for heading in headings),
        lines="\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines),
        left_out=left_out,
    )
    return document(f"{title} - clipx eval", _STYLE, body)


def shots_figure(rows: Sequence[Row]) -> Figure:
    """Accuracy over shots: a line for each method, a band from its worst to its best draw.

    Rows of base and new classes are drawn by their harmonic mean. Controls are dashed; what has no shots is a level
    line. The legend is in the order of the last figures, and the axis spans at least ten points.
    """
    import matplotlib
    from matplotlib.figure import Figure

    key, what = ("harmonic_mean", "harmonic mean of base and new") if _is_halves(rows) else ("acc1", "top-1 accuracy")
    lines: dict[str, list[tuple[int, float, float, float]]] = defaultdict(list)
    levels, dashed = {}, set()
    for row in rows:
        name, value = _line_name(row), 100 * row["metrics"][key]
        if "shots" not in row:
            levels[name] = value
            continue
        draws = [100 * draw[key] for draw in row["draws"]]
        lines[name].append((row["shots"], value, min(draws), max(draws)))
        dashed |= {name} if "control" in row else set()
    order = sorted([*lines, *levels], key=lambda n: -(levels[n] if n in levels else lines[n][-1][1]))
    colours, counts = matplotlib.colormaps["tab20"], sorted({x for points in lines.values() for x, *_ in points})
    figure = Figure(figsize=(9.5, 5.8), layout="constrained")
    axis = figure.subplots()
    for i, name in enumerate(order):
        if name in levels:
            axis.axhline(levels[name], color="#555", linestyle=":", linewidth=1.8, label=name)
            continue
        colour, line = colours(i % 20), "--" if name in dashed else "-"
        shots, mean, worst, best = zip(*lines[name], strict=True)
        axis.plot(shots, mean, color=colour, linestyle=line, linewidth=1.8, marker="o", markersize=4, label=name)
        axis.fill_between(shots, worst, best, color=colour, alpha=0.12, linewidth=0)
    low, high = axis.get_ylim()
    high = min(high, 101.0)
    axis.set_ylim(max(-1.0, min(low, high - LEAST_SPAN)), max(high, LEAST_SPAN))
    axis.set_xscale("log", base=2)
    axis.set_xticks(counts, [str(count) for count in counts])
    axis.minorticks_off()
    axis.set(xlabel="shots of each class", ylabel=f"{what} (%)")
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return figure


def figure_svg(figure: Figure) -> bytes:
    """The same figure gives the same bytes."""
    import matplotlib

    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "clipx", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def _line_name(row: Row) -> str:
    parts = [*(str(value) for value in row["sweep"].values()), row["method"]]
    return ", ".join(parts) + control_of(row)


def _is_halves(rows: Sequence[Row]) -> bool:
    return any("base_acc1" in row["metrics"] for row in rows)


_STYLE = """\
h1 { margin: 0; font-size: 1.75rem; line-height: 1.25; letter-spacing: -.02em; overflow-wrap: anywhere }
.lead { margin: .25rem 0 1.5rem; color: var(--quiet) }
img { display: block; width: 100%; padding: .75rem; border: 1px solid var(--line); border-radius: .75rem;
  background: #fff }
.scroll { margin-top: 1.5rem; overflow-x: auto }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; white-space: nowrap }
th { text-align: left; color: var(--quiet); font-weight: 500 }
th, td { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line) }
footer { margin-top: 2rem; color: var(--quiet); font-size: .875rem; max-width: 46rem }
"""

_BODY = Template("""\
<h1>$title</h1>
<p class="lead">$lead</p>
<img src="$plot" alt="Accuracy over shots; the table below holds the same figures.">
<div class="scroll"><table>
<thead><tr>$headings</tr></thead>
<tbody>
$lines
</tbody>
</table></div>
<footer>$left_out
<p>Lines are means over draws of the shots, bands reach from the worst to the best draw, dashed lines are controls.
Hyperparameters are fixed beforehand or chosen by cross-validation on the shots; no test label is used.</p>
</footer>
""")
