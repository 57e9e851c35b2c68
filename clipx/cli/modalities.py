"""clipx modalities: which modalities are installed, and whether they work here."""

from __future__ import annotations

from typing import Any

from clipx.cli._options import RunOptions, takes


@takes("out", "as_json", "config")
def modalities(*, run: RunOptions) -> None:
    """List the installed modalities: their files, whether they work here and, if not, what to install.

    Example: clipx modalities
    """
    from clipx.cli._output import print_table, report
    from clipx.registry import MODALITIES, registered

    run.check_writable()
    results = [modality_health(name) for name in registered(MODALITIES)]

    def table() -> None:
        rows = [
            (r["name"], " ".join(r["suffixes"]), "ok" if r["ok"] else f"not here: {r['remedy']}", r["package"])
            for r in results
        ]
        print_table(("modality", "files", "health", "package"), rows)

    run.emit(report("modalities", results), table)


def modality_health(name: str) -> dict[str, Any]:
    """Name, suffixes, package, whether it works, and the remedy where it does not."""
    from clipx.errors import ClipxError
    from clipx.registry import MODALITIES, get_modality, registered

    point = registered(MODALITIES)[name]
    record: dict[str, Any] = {"name": name, "suffixes": [], "package": point.dist.name if point.dist else point.module}
    try:
        cls = get_modality(name)
        record["suffixes"], remedy = list(cls.suffixes), cls.missing()
    except ClipxError as error:  # it cannot be imported, or is no modality, or is two
        remedy = str(error)
    except Exception as error:  # a third-party missing() may raise anything; the others still work
        remedy = f"missing() raised {type(error).__name__}: {error}"
    return record | {"ok": remedy is None, "remedy": remedy and " ".join(remedy.split())}
