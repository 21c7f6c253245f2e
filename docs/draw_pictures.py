"""Draws the pictures of the concepts: `python docs/draw_pictures.py` (`make docs` does it first).

What belongs here: shapes and words. States, their meanings and their colours come from the code, so
that a picture cannot tell another story. Plain SVG: text that can be searched and read aloud, in
the reader's light or dark scheme.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from tickhandler_dagster.market.states import STATE_MEANINGS, DataState
from tickhandler_dagster.reporting.pictures import STATE_COLOURS

FOLDER = Path(__file__).resolve().parent / "pictures"

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.b { font-weight: 600 } .s { font-size: 11px } .m { text-anchor: middle } .e { text-anchor: end }
.c { fill: #ffffff } .k { fill: #f3f5f7; stroke: #8c959f } .l { stroke: #57606a; fill: none }
.d { stroke-dasharray: 4 3 } .t { fill: #0072B2 } .w { fill: #D55E00 } .g { fill: #009E73 }
.tl { stroke: #0072B2; fill: none } .wl { stroke: #D55E00; fill: none }
.h { fill: #E69F00; opacity: 0.35 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .c { fill: #0d1117 } .k { fill: #21262d; stroke: #6e7681 }
.l { stroke: #9198a1 } .t { fill: #56B4E9 } .tl { stroke: #56B4E9 } .w { fill: #F0883E }
.wl { stroke: #F0883E } .g { fill: #3FB68B }
}""".strip()


HEAD = (
    '<marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path class="l" d="M0 0L7 4L0 8"/></marker>'
)


class Drawing:
    """Shapes one after the other; the origin is the upper left corner, units are pixels."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
            f'width="{width}" role="img" aria-labelledby="t">',
            f'<title id="t">{escape(title)}</title>',
            f"<style>{STYLE}</style>",
            f"<defs>{HEAD}</defs>",
            f'<rect class="c" width="{width}" height="{height}" rx="8"/>',
        ]

    def text(self, x: float, y: float, words: str, kind: str = "") -> None:
        """Words; `kind` is classes of the style."""
        self._parts.append(f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(words)}</text>')

    def box(self, x: float, y: float, width: float, height: float, kind: str = "k") -> None:
        """A rectangle with round corners."""
        size = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
        self._parts.append(f'<rect class="{kind}" {size} rx="4"/>')

    def tile(self, corner: tuple[float, float], size: float, colour: str) -> None:
        """A square in a colour of its own."""
        place = f'x="{corner[0]:g}" y="{corner[1]:g}" width="{size:g}" height="{size:g}"'
        self._parts.append(
            f'<rect {place} rx="2" fill="{colour}" stroke="#8c959f" stroke-width="0.7"/>'
        )

    def line(self, points: str, kind: str = "l", *, has_head: bool = False) -> None:
        """A line through the points `x,y x,y …`."""
        head = ' marker-end="url(#a)"' if has_head else ""
        self._parts.append(f'<polyline class="{kind}" points="{points}"{head}/>')

    def dot(self, x: float, y: float, kind: str) -> None:
        """A small disc."""
        self._parts.append(f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="4"/>')

    def svg(self) -> str:
        """The file's text."""
        return "\n".join([*self._parts, "</svg>"]) + "\n"


def road() -> str:
    """From the vendor's file to a feature."""
    drawing = Drawing(760, 190, "From the vendor's file to a feature, and where each says what is")
    stops = (
        ("vendor's file", "CSV, cut by arrival", "", ""),
        ("raw_ticks", "verified Parquet", "a state and a reason", "per instrument"),
        ("candles", "cut by exchange time", "status, gap_ms, coverage,", "is_final, available_at"),
        ("features", "in the candle, and mft", "null with a reason,", "never a shorter window"),
        ("reader, SQL", "what people ask", "refuses holes and", "what was not known"),
    )
    for place, (name, what, *says) in enumerate(stops):
        left = 14 + place * 149
        drawing.box(left, 40, 134, 54)
        drawing.text(left + 67, 63, name, "b m")
        drawing.text(left + 67, 81, what, "s m")
        for number, line in enumerate(says):
            drawing.text(left + 67, 128 + 16 * number, line, "s m")
        if place:
            drawing.line(f"{left - 14},67 {left - 2},67", has_head=True)
            drawing.line(f"{left + 67},96 {left + 67},114", "l d")
    drawing.text(14, 24, "a day of a venue", "s")
    drawing.text(14, 176, "what each step says about what it could not know", "s")
    return drawing.svg()


def states() -> str:
    """The cell and the states of what is in it."""
    drawing = Drawing(800, 292, "A grid of days and venues; in a cell one state per instrument")
    present, failed, partial = DataState.PRESENT, DataState.FAILED, DataState.PARTIAL
    drawing.text(14, 24, "the grid: a cell per day and venue", "b")
    for row, venue in enumerate(("binance", "deribit", "okex-swap")):
        drawing.text(76, 62 + row * 30, venue, "s e")
        for day in range(6):
            is_red = (row, day) == (1, 3)
            colour = STATE_COLOURS[failed if is_red else present]
            drawing.tile((84 + day * 30, 46 + row * 30), 24, colour)
    drawing.text(84, 150, "2024-08-05 to 2024-08-10", "s")
    drawing.line("198,88 198,178 84,178", "l d", has_head=True)
    drawing.text(14, 172, "in the cell:", "s")
    drawing.text(14, 188, "a tile each", "s")
    inside = [present] * 17 + [partial, failed, DataState.EMPTY]
    for place, state in enumerate(inside):
        corner = (14 + place % 10 * 22, 204 + place // 10 * 22)
        drawing.tile(corner, 18, STATE_COLOURS[state])
    drawing.text(14, 272, "green once no verdict is an error or a warning", "s")
    drawing.text(300, 24, "a tile's state: exactly one, never a guess", "b")
    for place, state in enumerate(DataState):
        top = 38 + place * 24
        drawing.tile((300, top), 15, STATE_COLOURS[state])
        drawing.text(324, top + 12, state.value, "b s")
        drawing.text(446, top + 12, STATE_MEANINGS[state], "s")
    return drawing.svg()


def bar() -> str:
    """A bar in time."""
    drawing = Drawing(760, 262, "A one minute bar in time: when it opens, closes and can be known")
    left, right, known, late = 120, 440, 560, 690
    drawing.box(left, 52, right - left, 150, "k")
    drawing.text((left + right) / 2, 44, "the bar: [12:00:00, 12:01:00)", "b m")
    drawing.text(14, 100, "at the exchange", "s")
    drawing.text(14, 174, "arrived here", "s")
    drawing.line("110,96 750,96")
    drawing.line("110,170 750,170")
    for at, delay, kind in ((140, 24, "t"), (230, 30, "t"), (318, 22, "t"), (432, 88, "t")):
        drawing.dot(at, 96, kind)
        drawing.line(f"{at},101 {at + delay},164", "l", has_head=True)
        drawing.dot(at + delay, 170, kind)
    drawing.dot(448, 96, "w")
    drawing.line("448,101 472,164", "l", has_head=True)
    drawing.dot(472, 170, "w")
    drawing.text(456, 88, "12:01:00.003: the next bar's", "s")
    for at, words in ((left, "ts_open"), (right, "ts_close"), (known, "available_at")):
        drawing.line(f"{at},52 {at},212", "l d")
        drawing.text(at, 226, words, "b m")
    drawing.line(f"{late},150 {late},212", "l d")
    drawing.text(late, 226, "available_at_30s", "b m")
    drawing.text(left, 242, "in it", "s m")
    drawing.text(right, 242, "not in it", "s m")
    drawing.text(known, 242, "last arrival + 200 ms", "s m")
    drawing.text(late, 242, "what looks 30 s ahead", "s m")
    return drawing.svg()


def as_of() -> str:
    """Joining an hour to a minute without looking ahead."""
    drawing = Drawing(760, 216, "What a minute may know of the hours beside it")
    hours = (
        (130, "09:00", "known since 10:00:00.2"),
        (370, "10:00", "not known before 11:00:00.2"),
    )
    for place, (left, opened, words) in enumerate(hours):
        drawing.box(left, 40, 236, 40)
        drawing.text(left + 118, 58, f"hour that opens {opened}", f"b m {'gw'[place]}")
        drawing.text(left + 118, 73, words, "s m")
    drawing.text(14, 64, "1h bars", "b")
    drawing.text(14, 138, "1m bars", "b")
    for minute in range(37):
        drawing.box(130 + minute * 13, 122, 10, 22, "h" if minute == 22 else "k")
    drawing.text(422, 163, "the minute that opens 10:16,", "s m")
    drawing.text(422, 178, "known at 10:17:00.2", "s m")
    drawing.line("420,120 420,102 250,102 250,84", "tl", has_head=True)
    drawing.text(240, 98, "its close_1h", "s e")
    drawing.line("424,120 500,100", "wl d")
    drawing.text(506, 103, "never this one: its close is 43 minutes away", "s w")
    drawing.text(
        14, 204, "The join is on available_at; by the bars' times it would be the future.", "s"
    )
    return drawing.svg()


def gaps() -> str:
    """A hole in the data, and what each rule of the reader makes of it."""
    drawing = Drawing(760, 300, "A hole in the data, the bars around it and the reader's rules")
    drawing.text(14, 60, "trades", "b")
    drawing.line("130,60 170,48 210,56 250,40", "tl")
    drawing.line("450,72 490,66 530,74", "tl")
    drawing.line("650,58 690,52 735,60", "tl")
    drawing.box(250, 26, 200, 62, "h")
    drawing.text(350, 62, "the vendor lost these", "s m")
    drawing.text(590, 46, "nobody traded", "s m")
    bars = (
        ("traded", "100 %"),
        ("traded", "60 %"),
        ("vendor_gap", "0 %"),
        ("traded", "50 %"),
        ("no_trade", "100 %"),
        ("traded", "100 %"),
    )
    rules = {
        'on_gap="raise"': ("", "refused", "refused", "refused", "", ""),
        'on_gap="mask"': ("kept", "nulls", "nulls", "nulls", "kept", "kept"),
        'on_gap="keep"': ("kept", "as it is", "nulls", "as it is", "kept", "kept"),
        'fill="ffill"': ("", "", "never", "", "last close", ""),
        'fill="drop"': ("", "", "stays", "", "left out", ""),
    }
    drawing.text(14, 118, "status", "b")
    drawing.text(14, 136, "coverage", "b")
    for place, (status, coverage) in enumerate(bars):
        drawing.box(130 + place * 102, 102, 96, 42)
        drawing.text(178 + place * 102, 119, status, "s b m")
        drawing.text(178 + place * 102, 136, coverage, "s m")
    for row, (rule, cells) in enumerate(rules.items()):
        top = 176 + row * 26
        drawing.text(14, top, rule, "s b")
        for place, words in enumerate(cells):
            kind = "w" if words in {"refused", "nulls", "never", "stays"} else ""
            drawing.text(178 + place * 102, top, words or "·", f"s m {kind}")
    return drawing.svg()


def live() -> str:
    """From the exchanges' feeds to live bars."""
    drawing = Drawing(760, 214, "From the exchanges' feeds to live bars, sinks and subscribers")
    boxes = {
        (14, 40): ("exchanges", "their own feeds"),
        (14, 130): ("replay", "lake, files or spool"),
        (164, 40): ("sidecar", "Node.js, one per venue"),
        (314, 40): ("spool", "append-only CSV"),
        (464, 40): ("engine", "15 s bars, then larger"),
        (464, 130): ("tick sinks", "each row exactly once"),
        (614, 40): ("lake or BigQuery", "bars and ticks"),
        (614, 130): ("subscribers", "page, sockets, events"),
    }
    for (left, top), (name, what) in boxes.items():
        drawing.box(left, top, 134, 48)
        drawing.text(left + 67, top + 21, name, "b m")
        drawing.text(left + 67, top + 38, what, "s m")
    for points in ("148,64 162,64", "298,64 312,64", "448,64 462,64", "598,64 612,64"):
        drawing.line(points, has_head=True)
    drawing.line("148,154 300,154 300,80 312,80", has_head=True)
    drawing.line("381,88 381,154 462,154", has_head=True)
    drawing.line("598,154 606,154 606,78 612,78", has_head=True)
    drawing.line("560,88 560,110 681,110 681,128", has_head=True)
    drawing.line("531,40 531,24 700,24", "l d", has_head=True)
    drawing.text(524, 20, "once a minute: Dagster, live/…", "s e")
    drawing.text(14, 204, "The next day live_parity compares every live bar with the batch's.", "s")
    return drawing.svg()


PICTURES = {"road": road, "states": states, "bar": bar, "as-of": as_of, "gaps": gaps, "live": live}


def main() -> None:
    """Write all of them."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (FOLDER / f"{name}.svg").write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
