"""The demo's page: one HTML file that needs nothing else, in light and dark."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from string import Template
from typing import TYPE_CHECKING

from clipx.cli._html import data_uri, document

if TYPE_CHECKING:
    from clipx.zeroshot import Prediction


PALE_BELOW = 0.1  # hits of a lower score are shown pale


@dataclass(frozen=True)
class Panel:
    """One sample on the page.

    Args:
        title: the file's name.
        kind: what it is, in words.
        picture: PNG or JPEG bytes of what the space encodes.
        alt: the same in words.
        predictions: best first.
        expected: the right word, where there is one.
        command: what prints them.
        player: HTML that plays it and draws its waveform, for a sound; it takes the picture's place.
    """

    title: str
    kind: str
    picture: bytes
    alt: str
    predictions: Sequence[Prediction]
    expected: str | None
    command: str
    player: str = ""


@dataclass(frozen=True)
class Sheet:
    """Pictures side by side, a row a thing.

    Args:
        title: above it.
        note: what it shows.
        columns: a caption for each.
        rows: (PNG or JPEG bytes, the same in words) for each column.
        command: what made a row.
    """

    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[tuple[bytes, str]]]
    command: str


@dataclass(frozen=True)
class Found:
    """What a search found on the page.

    Args:
        query: as it was typed.
        asked: HTML that shows or plays the files it names, where it names any.
        hits: (picture, the file's name, its score), best first.
        command: what finds them.
    """

    query: str
    asked: str
    hits: Sequence[tuple[bytes, str, float]]
    command: str


@dataclass(frozen=True)
class Searches:
    """Several searches of the same files.

    Args:
        title, note: as of a ``Sheet``.
        rows: the searches.
    """

    title: str
    note: str
    rows: Sequence[Found]


def page(panels: Sequence[Panel], sections: Sequence[Sheet | Searches], space: str, summary: str, caveat: str) -> str:
    """The whole page. It asks for nothing over a network: its policy forbids it.

    What was named wrong stands under a heading of its own.
    """
    wrong = [panel for panel in panels if panel.expected not in (None, panel.predictions[0].label)]
    right = [panel for panel in panels if panel not in wrong]
    body = _BODY.substitute(
        space=escape(space),
        summary=escape(summary),
        caveat=escape(caveat),
        panels="\n".join(map(_panel, right)),
        wrong=_WRONG.substitute(panels="\n".join(_panel(panel, "h3") for panel in wrong)) if wrong else "",
        sheets="\n".join(_sheet(part) if isinstance(part, Sheet) else _searches(part) for part in sections),
    )
    return document("clipx demo", _STYLE, body, media=True)


def _panel(panel: Panel, heading: str = "h2") -> str:
    answer = panel.predictions[0].label
    return _PANEL.substitute(
        heading=heading,
        title=escape(panel.title),
        kind=escape(panel.kind),
        look=panel.player
        or f'<figure><img src="{source(panel.picture)}" alt="{escape(panel.alt, quote=True)}"></figure>',
        answer=escape(answer),
        verdict=f", <strong>in truth: {escape(panel.expected)}</strong>"
        if panel.expected not in (None, answer)
        else "",
        rows="\n".join(map(_row, panel.predictions)),
        command=escape(panel.command),
    )


def _sheet(sheet: Sheet) -> str:
    heads = "".join(f'<th scope="col">{escape(column)}</th>' for column in sheet.columns)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{_picture(data, alt)}</td>" for data, alt in row) + "</tr>" for row in sheet.rows
    )
    return _SHEET.substitute(
        title=escape(sheet.title, quote=True),
        note=escape(sheet.note),
        heads=heads,
        rows=rows,
        command=escape(sheet.command),
    )


def _picture(data: bytes, alt: str) -> str:
    """An image; of a film its end, for those who asked their system for less motion."""
    image = f'<img src="{source(data)}" alt="{escape(alt, quote=True)}">'
    if not data.startswith(b"GIF8"):
        return image
    from PIL import Image

    film, still = Image.open(io.BytesIO(data)), io.BytesIO()
    film.seek(getattr(film, "n_frames", 1) - 1)
    film.convert("RGB").save(still, "PNG", optimize=True)
    calm = f'<source media="(prefers-reduced-motion: reduce)" srcset="{source(still.getvalue())}">'
    return f"<picture>{calm}{image}</picture>"


def _searches(part: Searches) -> str:
    rows = "\n".join(
        f'<div class="query"><p><code>{escape(row.query)}</code></p>{row.asked}</div>\n<div><ol class="hits">'
        + "".join(
            f'<li{" class=unlike" * (score < PALE_BELOW)}><img src="{source(data)}" alt="{escape(name, quote=True)}">'
            f'<p>{escape(name)} <span class="score">{score:.2f}</span></p></li>'
            for data, name, score in row.hits
        )
        + f"</ol><pre><code>{escape(row.command)}</code></pre></div>"
        for row in part.rows
    )
    return _SEARCHES.substitute(title=escape(part.title), note=escape(part.note), rows=rows)


def source(picture: bytes) -> str:
    """The address of a picture that the page holds."""
    kind = "png" if picture.startswith(b"\x89PNG") else "gif" if picture.startswith(b"GIF8") else "jpeg"
    return data_uri(f"image/{kind}", picture)


def _row(prediction: Prediction) -> str:
    share = f"{100 * prediction.probability:.1f}"
    return (
        f'<tr><th scope="row">{escape(prediction.label)}</th>'
        f'<td class="bar"><span style="width:{share}%"></span></td><td>{share} %</td>'
        f"<td>{prediction.cosine:.3f}</td></tr>"
    )


_PANEL = Template("""\
<article>
<header><$heading>$answer</$heading><p><code>$title</code> $kind$verdict</p></header>
$look
<table>
<thead><tr><th scope="col">word</th><th scope="col" colspan="2">probability</th><th scope="col">cosine</th></tr></thead>
<tbody>
$rows
</tbody>
</table>
<pre><code>$command</code></pre>
</article>""")

_SHEET = Template("""\
<section>
<h2>$title</h2>
<p class="note">$note</p>
<div class="sheet" role="region" aria-label="$title" tabindex="0"><table>
<thead><tr>$heads</tr></thead>
<tbody>
$rows
</tbody>
</table></div>
<pre><code>$command</code></pre>
</section>""")

_SEARCHES = Template("""\
<section>
<h2>$title</h2>
<p class="note">$note</p>
<div class="searches">
$rows
</div>
</section>""")

_WRONG = Template("""<section>
<h2>Named wrong</h2>
<p class="note">What the space took for something else. The first word is its answer.</p>
<div class="panels">
$panels
</div>
</section>""")

_STYLE = """\
h1 { margin: 0 0 .5rem; font-size: 2rem; line-height: 1.2; letter-spacing: -.02em }
.lead { max-width: 42rem; margin: 0 0 .5rem; font-size: 1.1rem }
.note { max-width: 42rem; margin: 0 0 2.5rem; color: var(--quiet) }
.panels { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)) }
article { display: flex; flex-direction: column; gap: .9rem; min-width: 0; padding: 1.25rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .75rem }
h2, h3 { margin: 0; font-size: 1.35rem; line-height: 1.25 }
header p { margin: .1rem 0 0; color: var(--quiet); font-size: .875rem }
figure { margin: 0; border-radius: .5rem; overflow: hidden; background: var(--well) }
img { display: block; width: 100%; height: 13rem; object-fit: contain }
table { width: 100%; border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums }
th { text-align: left; font-weight: 400; padding: .15rem .5rem .15rem 0; overflow-wrap: anywhere }
thead th { color: var(--quiet); font-size: .75rem; border-bottom: 1px solid var(--line) }
td, thead th:last-child { text-align: right; white-space: nowrap; padding: .15rem 0 .15rem .5rem }
tbody tr:first-child th, tbody tr:first-child td { font-weight: 600 }
.bar { width: 32%; padding-left: 0 }
.bar span { display: block; height: .55rem; min-width: 1px; border-radius: .3rem; background: var(--bar) }
pre { margin: auto 0 0; padding: .6rem .75rem; border-radius: .5rem; background: var(--well);
  font-size: .75rem; line-height: 1.4; white-space: pre-wrap; overflow-wrap: anywhere }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace }
section { margin-top: 3rem }
section .note { margin-bottom: 1rem }
.sheet { overflow-x: auto; margin-bottom: 1rem }
.sheet table { min-width: 40rem; table-layout: fixed }
.sheet th, .sheet thead th:last-child { padding: .25rem; text-align: left }
.sheet td { padding: .25rem; text-align: left }
.sheet img { height: auto; background: #fff; border: 1px solid var(--line); border-radius: .5rem }
.sheet td:only-child img { max-width: 45rem }
.searches { display: grid; grid-template-columns: minmax(11rem, 15rem) 1fr; gap: 1.25rem 1.5rem; margin-bottom: 1rem }
.query { min-width: 0 }
.query p { margin: 0 0 .4rem; overflow-wrap: anywhere }
audio { display: block; width: 100%; height: 2.25rem; margin-top: .4rem }
svg { display: block; width: 100%; height: 2.5rem }
svg path { stroke: var(--bar); stroke-width: 1.4 }
.query img { height: 5rem; width: auto; border-radius: .4rem }
.hits { display: grid; grid-template-columns: repeat(auto-fill, minmax(6.5rem, 1fr)); gap: .75rem; margin: 0;
  padding: 0; list-style: none }
.hits li { min-width: 0 }
.hits img { height: auto; aspect-ratio: 1; object-fit: contain; background: #fff; border: 1px solid var(--line);
  border-radius: .5rem }
.hits p { margin: .25rem 0 0; font-size: .75rem; overflow-wrap: anywhere }
.hits + pre { margin-top: .6rem }
.unlike img { opacity: .4 }
.unlike p { color: var(--quiet) }
.score { color: var(--quiet); font-variant-numeric: tabular-nums }
@media (max-width: 40rem) { .searches { grid-template-columns: 1fr } }
footer { margin-top: 2.5rem; color: var(--quiet); font-size: .875rem }
"""

_BODY = Template("""\
<h1>One space for every modality</h1>
<p class="lead">$summary</p>
<p class="note">$caveat</p>
<main>
<div class="panels">
$panels
</div>
$sheets
$wrong
</main>
<footer>Space: <code>$space</code>. Probability says which of the words fits best; the raw cosine says how well it fits.
Commands print what stands above them.</footer>
""")
