"""The frame of every page that clipx writes: one HTML file that needs nothing else, in light and dark."""

from __future__ import annotations

import base64
from html import escape
from string import Template


def document(title: str, style: str, body: str, media: bool = False) -> str:
    """A whole page. It asks for nothing over a network: its policy forbids it.

    Args:
        title: of the window, plain text.
        style: CSS beside the shared colours and type.
        body: HTML.
        media: whether it holds sounds, or shows films from where they lie.
    """
    sources = "; media-src data: file:" if media else ""
    return _FRAME.substitute(title=escape(title), style=style, body=body, media=sources)


def data_uri(kind: str, data: bytes) -> str:
    """The content of a file as an address that needs no file."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


_FRAME = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'$media">
<title>$title</title>
<link rel="icon" href="data:,">
<style>
:root { --paper: #fbfaf7; --card: #fff; --ink: #1d1c1a; --quiet: #66625b;
  --line: #e3dfd6; --bar: #3a6ea5; --well: #f3f1eb }
@media (prefers-color-scheme: dark) {
  :root { --paper: #141517; --card: #1c1e21; --ink: #ecebe8; --quiet: #a09c94;
    --line: #2e3135; --bar: #7fb0e6; --well: #25282c }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 76rem; padding: 3rem 1.5rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
$style</style>
</head>
<body>
$body</body>
</html>
""")
