"""The shortest window on which a statistic of returns says anything.

What belongs here: the refusal of a shorter one. The minima are where the statistics are.
"""

from __future__ import annotations

from tickhandler_dagster.market.errors import InvalidInput


def refuse_short_window(family: str, window: int, shortest: int) -> None:
    """Let a window pass that is long enough.

    A shorter one is refused when the catalogue is built: a column that is null for ever would hide
    the mistake, and a value from too few bars would be noise under a trusted name.

    Args:
        family: The family of windows, as settings call it.
        window: Window in bars.
        shortest: The statistic's minimum in bars.

    Raises:
        InvalidInput: The window is shorter.

    Example:
        >>> refuse_short_window("hurst", 256, 256)
        >>> refuse_short_window("hurst", 100, 256)
        Traceback (most recent call last):
            ...
        tickhandler_dagster.market.errors.InvalidInput: windows.hurst: the window is too short \
(was 100 bars; expected at least 256 bars). Widen it or leave it out.
    """
    if window < shortest:
        raise InvalidInput(
            f"windows.{family}",
            "the window is too short",
            was=f"{window} bars",
            expected=f"at least {shortest} bars",
            remedy="Widen it or leave it out",
        )
