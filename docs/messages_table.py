"""A directive for Sphinx: every error the code can raise, by its text, read from the code itself.

What belongs here: finding the sentences. What they mean to a person is written by hand (`faq.md`);
that both are there keeps the long list honest and the short one readable.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils.nodes import Node
from sphinx.util.docutils import SphinxDirective

from tickhandler_dagster.market import errors

PACKAGE = Path(errors.__file__).resolve().parents[1]
CLASSES = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.TickhandlerError)
}


def text_of(node: ast.expr) -> str:
    """A text as it is written, `…` for what is put into it; empty where it is made elsewhere."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
        return "".join(map(str, parts))
    return ""


def raised() -> Iterator[tuple[str, str, str]]:
    """Class, fact and remedy of every error that is raised with a fact of its own."""
    for file in sorted(PACKAGE.rglob("*.py")):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            name = call.func.id if _is_named_call(call) else ""
            if name in CLASSES and len(call.args) > 1:
                remedies = [word.value for word in call.keywords if word.arg == "remedy"]
                yield name, text_of(call.args[1]), text_of(remedies[0]) if remedies else ""


def _is_named_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


def table() -> str:
    """The Markdown of the tables: what is tried again, and what is not."""
    lines = []
    for kind, title in (
        (errors.TransientError, "Tried again by itself"),
        (errors.PermanentError, "Fails once, at once"),
    ):
        lines += ["", f"**{title}**", "", "| it says | what to do | kind |", "|---|---|---|"]
        rows = {row for row in raised() if row[1].strip("… ") and issubclass(CLASSES[row[0]], kind)}
        for name, fact, remedy in sorted(rows, key=lambda row: (row[1].lstrip("… ").lower(), row)):
            cells = (fact, remedy, name)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


class Messages(SphinxDirective):
    """`{messages}`: the tables."""

    def run(self) -> list[Node]:
        """The tables as nodes."""
        self.env.note_reread()
        return self.parse_text_to_nodes(table())


def setup(app: Any) -> dict[str, bool]:  # noqa: ANN401  (Sphinx has no type for it without its import)
    """Tell Sphinx of the directive."""
    app.add_directive("messages", Messages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
