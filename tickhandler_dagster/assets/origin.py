"""Where data came from, said the same way on every materialization: a market, or the sandbox."""

import dagster as dg

from tickhandler_dagster.reporting import markdown


def origin(*, is_simulated: bool) -> dg.MetadataValue:
    """The notice that data is simulated, or the vendor's name."""
    if is_simulated:
        return dg.MetadataValue.md(markdown.SIMULATED_NOTICE)
    return dg.MetadataValue.text("tardis.dev")


def heading(subject: str, *, is_simulated: bool) -> str:
    """The heading of a picture: pictures are copied out of the page, and say it themselves."""
    return f"{subject} (simulated)" if is_simulated else subject
