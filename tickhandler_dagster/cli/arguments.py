"""The words of a command line before any command reads them: old forms and lists become new ones.

What belongs here: rewriting words, nothing else. `--mode X` becomes the command `X`, and a list
with spaces, or an option given twice, becomes one comma list. What does not: options (`options.py`)
and what they mean (each command).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typer.core import TyperGroup

LIST_OPTIONS = frozenset(
    {
        *("--venues", "--exchanges", "--data-types", "--instrument-types"),
        *("--assets", "--states", "--instruments", "--symbol", "--symbols"),
    }
)
"""Options whose value is a list."""

_OLD_MODES = {"missing-reports": "missing-tick-reports", "full-pipeline": "full-pipeline-ticks"}
"""Names that the code of the earlier system took where its guide says others."""

_OLD_OPTIONS = {"--force-download": "--force"}


class OldFormsGroup(TyperGroup):
    """The group of all commands; it takes the earlier forms as well."""

    # The base class takes a context of a private module.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  (see above)
        """Read the words after they were rewritten."""
        return super().parse_args(ctx, joined_lists(new_form(args)))


def new_form(words: Sequence[str]) -> list[str]:
    """The words with `--mode X` as the command `X`; others as they are.

    Example:
        >>> new_form(["--start-date", "2024-08-08", "--mode", "download", "--force-download"])
        ['download', '--start-date', '2024-08-08', '--force']
    """
    for place, word in enumerate(words):
        name, sign, value = word.partition("=")
        if name != "--mode":
            continue
        after = place + (1 if sign else 2)
        mode = value if sign else "".join(words[place + 1 : after])
        rest = [_OLD_OPTIONS.get(one, one) for one in (*words[:place], *words[after:])]
        return [_OLD_MODES.get(mode, mode), *rest] if mode else rest
    return list(words)


def joined_lists(words: Sequence[str]) -> list[str]:
    """The words with every list option once, its values joined by commas, each once.

    Example:
        >>> joined_lists(["plan", "--venues", "deribit", "upbit", "-v", "--venues", "okex,upbit"])
        ['plan', '--venues', 'deribit,upbit,okex', '-v']
    """
    found: list[str] = []
    places: dict[str, int] = {}
    place = 0
    while place < len(words):
        name, sign, value = words[place].partition("=")
        place += 1
        if name not in LIST_OPTIONS:
            found.append(words[place - 1])
            continue
        values = [value] if sign else []
        while place < len(words) and not words[place].startswith("-"):
            values.append(words[place])
            place += 1
        if not values:
            found.append(name)  # without a value: the parser says so
        elif name in places:
            found[places[name]] += "," + ",".join(values)
        else:
            found += [name, ",".join(values)]
            places[name] = len(found) - 1
    for at in places.values():
        found[at] = ",".join(dict.fromkeys(found[at].split(",")))
    return found
