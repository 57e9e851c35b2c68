"""clipx spaces: which joint spaces there are."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from clipx.cli._options import RunOptions, takes


@takes("out", "as_json", "config")
def spaces(
    embedded: Annotated[bool, typer.Option("--embedded", help="Only those that come with clipx.")] = False,
    *,
    run: RunOptions,
) -> None:
    """List the joint spaces: those that come with clipx, then the pretrained ones that open_clip can fetch.

    Example: clipx spaces --embedded
    """
    from clipx.cli._output import print_table, report
    from clipx.spaces.embedded import list_spaces

    run.check_writable()
    found = list_spaces(pretrained=not embedded)

    def table() -> None:
        rows = [
            (s.name, s.kind, s.version, f"{s.weights_bytes / 1e6:.1f} MB" if s.weights_bytes else "", s.licence)
            for s in found
        ]
        print_table(("space", "kind", "version", "size", "licence"), rows)

    run.emit(report("spaces", [asdict(s) for s in found]), table)
