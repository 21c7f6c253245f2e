"""A long backfill in blocks: every cell once, none too long, what is computed in one piece."""

import datetime as dt

import dagster as dg
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.automation.backfill_blocks import DAYS_PER_RUN, blocks_of

TICKS, CANDLES = dg.AssetKey(["raw_ticks", "trades"]), dg.AssetKey(["candles", "1h"])
FIRST = dt.date(2024, 1, 1)


def _cells(days):
    return tuple(f"{FIRST + dt.timedelta(days=day)}|binance" for day in sorted(days))


@given(
    st.dictionaries(
        st.sampled_from([TICKS, CANDLES, dg.AssetKey("instruments"), dg.AssetKey("bar_audit")]),
        st.frozensets(st.integers(0, 400), min_size=1),
    ),
    st.integers(1, 60),
)
def test_every_cell_is_in_exactly_one_block_and_no_fetch_is_longer_than_asked(chosen, size):
    keys = {key: _cells(days) for key, days in chosen.items()}
    blocks = list(blocks_of(keys, size))
    found = [(key, one) for block in blocks for key, some in block.keys.items() for one in some]
    assert sorted(found, key=str) == sorted(
        ((key, one) for key, some in keys.items() for one in some), key=str
    )
    for block in blocks:
        days = {one.partition("|")[0] for some in block.keys.values() for one in some}
        assert min(days) >= block.first
        assert max(days) <= block.last
        if len(blocks) > 1:
            assert (CANDLES in block.keys) <= (not block.is_fetched)
            assert not block.is_fetched or len(days) <= size


def test_a_month_is_one_piece_and_a_year_of_ticks_thirteen():
    keys = {TICKS: _cells(range(DAYS_PER_RUN)), CANDLES: _cells(range(DAYS_PER_RUN))}
    (block,) = blocks_of(keys)
    assert block.keys == keys
    year = {TICKS: _cells(range(366)), CANDLES: _cells(range(366))}
    blocks = list(blocks_of(year))
    assert [block.is_fetched for block in blocks] == [True] * 13 + [False]
    assert blocks[-1].keys == {CANDLES: year[CANDLES]}
    assert list(blocks_of({})) == []
