"""The page of a search: one HTML file that needs nothing else, in light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from clipx.cli._film import film_player
from clipx.cli._html import data_uri, document
from clipx.cli._sound import player

if TYPE_CHECKING:
    from clipx.index import Hit


def results_page(
    query: str,
    hits: Sequence[Hit],
    thumbnails: Mapping[str, bytes],
    names: Mapping[str, str],
    about: str,
    remark: str = "",
) -> str:
    """The whole page. It asks for nothing over a network: its policy forbids it.

    Args:
        query: what was searched.
        hits: best first.
        thumbnails: path -> JPEG, for those that have one.
        names: path -> what to call it.
        about: a line on the index.
        remark: a line on the hits, such as that none is likely to be it.
    """
    cards = "\n".join(_card(hit, thumbnails.get(hit.path), names[hit.path]) for hit in hits)
    found = f"{len(hits)} file{'s' if len(hits) != 1 else ''}, best first." if hits else "Nothing here matches."
    if hits and remark:
        found += f" {escape(remark[0].upper() + remark[1:])}."
    body = _BODY.substitute(query=escape(query), found=found, cards=cards, about=escape(about))
    return document(f"{query} - clipx search", _STYLE, body, media=True)


def _card(hit: Hit, thumbnail: bytes | None, name: str) -> str:
    picture = '<p class="none">no picture</p>'
    if thumbnail is not None:
        shown = f"{hit.modality} {name}: {', '.join(hit.words)}"
        picture = f'<img src="{data_uri("image/jpeg", thumbnail)}" alt="{escape(shown, quote=True)}">'
    picture = film_player(hit.path, hit.start_s, hit.end_s, name, thumbnail) or picture
    place = "" if hit.start_s is None or hit.end_s is None else f", {hit.start_s:.1f} to {hit.end_s:.1f} s"
    return _CARD.substitute(
        rank=hit.rank,
        short=escape(Path(hit.path).name),
        name=escape(name) + " <strong>(missing: moved or deleted)</strong>" * hit.missing,
        path=escape(hit.path, quote=True),
        modality=escape(hit.modality + place),
        words=escape(", ".join(hit.words)),
        picture=picture,
        player=player(hit.path, hit.start_s, hit.end_s, name),
        percent=f"{100 * max(0.0, min(1.0, hit.score)):.0f}",
        score=f"{hit.score:.3f}",
        confidence=f"{hit.confidence:.0%}",
        e_value=f"{hit.e_value:.2g}",
        cosine=f"{hit.cosine:.3f}",
    )


_CARD = Template("""\
<article>
<figure>$picture</figure>
<h2><span>$rank</span> $short</h2>
<p class="kind" title="$path">$name</p>
<p class="kind">$modality</p>
<p class="words">$words</p>
$player
<div class="bar" role="img" aria-label="score $score"><span style="width:$percent%"></span></div>
<dl><div><dt>score</dt><dd>$score</dd></div><div><dt>confidence</dt><dd>$confidence</dd></div>
<div><dt>E-value</dt><dd>$e_value</dd></div><div><dt>cosine</dt><dd>$cosine</dd></div></dl>
</article>""")

_STYLE = """\
h1 { margin: 0; font-size: 1.75rem; line-height: 1.25; letter-spacing: -.02em; overflow-wrap: anywhere }
.lead { margin: .25rem 0 2rem; color: var(--quiet) }
main { display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)) }
article { display: flex; flex-direction: column; min-width: 0; padding: 1rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .75rem }
figure { display: grid; place-items: center; height: 11rem; margin: 0 0 .75rem; border-radius: .5rem;
  overflow: hidden; background: var(--well) }
img, video { display: block; width: 100%; height: 11rem; object-fit: contain }
h2 { margin: 0; font-size: 1rem; line-height: 1.35; overflow-wrap: anywhere }
h2 span:first-child { color: var(--quiet); font-weight: 400 }
p { margin: 0 }
.kind, .none { color: var(--quiet); font-size: .8125rem; overflow-wrap: anywhere }
.words { font-size: .875rem; margin-bottom: .75rem; overflow-wrap: anywhere }
audio { display: block; width: 100%; height: 2.25rem; margin-bottom: .75rem }
audio + .kind { margin: -.5rem 0 .75rem }
.wave { display: block; width: 100%; height: 2.5rem; margin-bottom: .5rem }
.wave path { fill: none; stroke-width: 1.2; stroke: var(--bar); vector-effect: none }
.wave .out { stroke: var(--quiet); opacity: .4 }
.bar { margin-top: auto; height: .5rem; border-radius: .25rem; background: var(--well) }
.bar span { display: block; height: 100%; min-width: 1px; border-radius: .25rem; background: var(--bar) }
dl { display: flex; justify-content: space-between; gap: .25rem; margin: .5rem 0 0; font-size: .75rem;
  font-variant-numeric: tabular-nums }
dt { color: var(--quiet); white-space: nowrap }
dd { margin: 0 }
footer { margin-top: 2.5rem; color: var(--quiet); font-size: .875rem; max-width: 46rem }
"""

_BODY = Template("""\
<h1>$query</h1>
<p class="lead">$found</p>
<main>
$cards
</main>
<footer>$about Hits are ranked by the score; the E-value is how many unrelated files would score as high by chance, and
the confidence the probability that none would; the cosine is raw.</footer>
""")
