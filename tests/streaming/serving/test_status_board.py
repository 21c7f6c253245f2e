"""The verdict on the engine: silence and lag are faults, a feed that is cut off is a warning."""

import pytest

from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.serving.status_board import HealthRule, StatusBoard


class Elapsed:
    now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def elapsed():
    return Elapsed()


@pytest.fixture
def board(elapsed):
    return StatusBoard(HealthRule(max_silence_s=5, max_lag_s=60), elapsed_s=elapsed)


def test_before_the_first_word_it_is_not_well(board):
    assert board.health().faults == ("The engine has said nothing yet.",)
    assert (board.latest, board.age_s) == (None, None)


def test_silence_is_a_fault_when_it_is_longer_than_the_rule(board, elapsed, tell):
    tell()
    elapsed.now_s += 5
    assert board.health().is_well
    elapsed.now_s += 0.5
    assert board.health().faults == (
        "The engine has said nothing for 5.5 s (expected every 5 s or sooner).",
    )
    tell()
    assert board.health().is_well


def test_a_lag_grows_while_the_engine_is_silent(board, elapsed, tell, feed):
    tell(feed(lag_us=57_000_000))
    assert board.health().is_well
    elapsed.now_s += 4
    assert board.health().faults == (
        "binance-futures: no row for 61.0 s (expected one every 60 s or sooner).",
    )


def test_a_feed_that_is_starting_is_no_fault(board, tell, feed):
    tell(feed(lag_us=600_000_000, is_connected=False, is_starting=True))
    health = board.health()
    assert health.is_well
    assert health.warnings == ("binance-futures: starting.",)


def test_a_feed_that_never_had_a_row_has_no_lag(board, tell, feed):
    tell(feed(VenueId.DERIBIT, lag_us=None, is_connected=False))
    health = board.health()
    assert health.is_well
    assert health.warnings == ("deribit: not connected.",)
