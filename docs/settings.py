"""Settings as the pages show them: the help and the default of a dataclass field, not the call that holds both."""

from __future__ import annotations

import ast
from typing import Any

import griffe


class Settings(griffe.Extension):
    """``x: int = field(default=3, metadata={"help": "..."})`` reads as ``x: int = 3`` with that text."""

    def on_attribute_instance(self, *, node: Any, attr: griffe.Attribute, **others: Any) -> None:
        call = getattr(node, "value", None)
        if not (isinstance(call, ast.Call) and getattr(call.func, "id", "") == "field"):
            return
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        for key, value in zip(*pairs(given.get("metadata")), strict=True):
            if getattr(key, "value", None) == "help":
                attr.docstring = griffe.Docstring(said(value), parent=attr)
        if attr.docstring and "default" in given:
            attr.value = ast.unparse(given["default"])


def pairs(node: ast.expr | None) -> tuple[list[Any], list[Any]]:
    return (list(node.keys), list(node.values)) if isinstance(node, ast.Dict) else ([], [])


def said(node: ast.expr) -> str:
    """A string with what is filled in at run time left open."""
    if isinstance(node, ast.JoinedStr):
        return "".join(said(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return said(node.left) + said(node.right)
    return str(node.value) if isinstance(node, ast.Constant) else "..."
