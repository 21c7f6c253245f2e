"""What of the spool can go, and what is kept beside it."""

from __future__ import annotations

import json

import pytest

from tickhandler_dagster.adapters.spool import SPOOL_START, SpoolPosition, segments_in
from tickhandler_dagster.adapters.spool_dead_letters import DeadLetterFile
from tickhandler_dagster.adapters.spool_reader import SpoolReader
from tickhandler_dagster.adapters.spool_retention import (
    SpoolCursors,
    require_kept,
    sweep,
    swept_before,
)
from tickhandler_dagster.adapters.spool_writer import SpoolWriter
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import CorruptData, InvalidInput, MissingUpstream
from tickhandler_dagster.market.live.feed_events import FeedEvent, FeedEventKind
from tickhandler_dagster.market.venues import VenueId

VENUE, TRADES = VenueId.DERIBIT, DataType.TRADES
FOLDER = (VENUE, TRADES)
START, MINUTE = 1_723_075_200_000_000, 60_000_000


@pytest.fixture
def spool(tmp_path):
    """Ten segments of a minute each, of trades and of events."""
    with SpoolWriter(tmp_path) as writer:
        for minute in range(10):
            at = START + minute * MINUTE
            writer.append(VENUE, TRADES, f"deribit,BTC,{at},{at},t{minute},buy,1,1\n".encode())
            writer.event(FeedEvent(kind=FeedEventKind.HEARTBEAT, venue=VENUE, at_us=at))
    return tmp_path


def minutes(root, folder="trades"):
    return [
        (segment.start_us - START) // MINUTE for segment in segments_in(root / "deribit" / folder)
    ]


def segments_size(root):
    folders = (root / "deribit" / name for name in ("trades", "events"))
    return sum(segment.size for folder in folders for segment in segments_in(folder))


def place(root, minute):
    return SpoolPosition(segments_in(root / "deribit" / "trades")[minute].name, 5)


def test_segments_that_ended_long_ago_go_and_the_newest_stays(spool):
    size = segments_size(spool)
    freed = sweep(spool, now_us=START + 20 * MINUTE, keep_us=15 * MINUTE)
    assert minutes(spool) == minutes(spool, "events") == [5, 6, 7, 8, 9]
    assert size - segments_size(spool) == freed > 0
    sweep(spool, now_us=START + 10_000 * MINUTE, keep_us=0)
    assert minutes(spool) == minutes(spool, "events") == [9]


def test_what_the_slowest_consumer_has_not_passed_stays(spool):
    cursors = SpoolCursors(spool)
    cursors.save("engine", {FOLDER: place(spool, 7)})
    cursors.save("ticks-1", {FOLDER: place(spool, 3)})
    cursors.save("other", {(VenueId.BYBIT, TRADES): SPOOL_START})
    sweep(spool, now_us=START + 10_000 * MINUTE, keep_us=0)
    assert minutes(spool) == [3, 4, 5, 6, 7, 8, 9]
    cursors.remove("ticks-1")
    sweep(spool, now_us=START + 10_000 * MINUTE, keep_us=0)
    assert minutes(spool) == [7, 8, 9]


def test_a_consumer_that_has_read_nothing_yet_holds_everything(spool):
    SpoolCursors(spool).save("engine", {FOLDER: SPOOL_START, (VENUE, None): SPOOL_START})
    assert sweep(spool, now_us=START + 10_000 * MINUTE, keep_us=0) == 0


def test_what_was_deleted_is_known_and_nobody_goes_on_from_before_it(spool):
    assert swept_before(spool, VENUE, TRADES) is None
    before, after = place(spool, 3), place(spool, 7)
    sweep(spool, now_us=START + 20 * MINUTE, keep_us=14 * MINUTE)
    assert swept_before(spool, VENUE, TRADES) == START + 6 * MINUTE
    require_kept(spool, {FOLDER: after, (VENUE, None): SPOOL_START}, remedy="Begin anew")
    require_kept(spool, {FOLDER: SPOOL_START}, remedy="Begin anew")
    with pytest.raises(MissingUpstream, match="Begin anew"):
        require_kept(spool, {FOLDER: before}, remedy="Begin anew")


def test_a_reader_whose_place_was_deleted_goes_on_with_what_is_left(spool):
    reader = SpoolReader(spool)
    position = place(spool, 2)
    sweep(spool, now_us=START + 20 * MINUTE, keep_us=14 * MINUTE)
    frame, _ = reader.tail(VENUE, TRADES, position)
    assert frame.get_column("id").to_list() == ["t6", "t7", "t8", "t9"]


def test_a_cursor_is_read_as_it_was_saved(tmp_path):
    cursors = SpoolCursors(tmp_path)
    assert cursors.read("engine") == {}
    positions = {FOLDER: SpoolPosition("0000000000000005-a.csv", 7), (VENUE, None): SPOOL_START}
    cursors.save("engine", positions)
    assert cursors.read("engine") == positions
    assert cursors.names() == ["engine"]


@pytest.mark.parametrize("text", ["[]", "{", '{"deribit": {"ticks": ["a", 1]}}', '{"x": {}}x'])
def test_a_file_that_is_no_cursor_is_named(tmp_path, text):
    (tmp_path / "cursors").mkdir()
    (tmp_path / "cursors" / "engine.json").write_text(text)
    with pytest.raises(CorruptData, match="cursor engine: not a cursor"):
        SpoolCursors(tmp_path).read("engine")


def test_a_cursor_s_name_is_no_path(tmp_path):
    with pytest.raises(InvalidInput, match="not a name"):
        SpoolCursors(tmp_path).save("../x", {})


def test_a_dead_letter_read_again_is_kept_once(spool):
    with SpoolWriter(spool) as writer:
        writer.append(VENUE, TRADES, b"deribit,BTC,1,2,\nx\n")
    for _ in range(2):
        reader = SpoolReader(spool, dead_letters=DeadLetterFile(spool, "engine"))
        for _ in range(2):
            reader.tail(VENUE, TRADES, SPOOL_START)
    (path,) = (spool / "deribit" / "dead_letters").iterdir()
    assert [json.loads(line)["line"] for line in path.read_text().splitlines()] == [
        "deribit,BTC,1,2,",
        "x",
    ]
    assert reader.data_types(VENUE) == [TRADES]
    assert reader.venues() == [VENUE]
