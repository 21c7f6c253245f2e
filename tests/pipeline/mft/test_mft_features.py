"""From candles of a day and of its halo to files of features: what is read, what makes it new."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import CorruptData, MissingUpstream
from tickhandler_dagster.market.mft.halo import halo_of
from tickhandler_dagster.market.mft.warm_up import NullReason
from tickhandler_dagster.market.mft_manifest_table import MFT_MANIFEST_TABLE
from tickhandler_dagster.market.mft_table import MFT_IDENTITY, table_of
from tickhandler_dagster.market.paths import CandleFile, MftFile, MftManifest
from tickhandler_dagster.market.schema_check import SchemaCheck
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline import mft_features
from tickhandler_dagster.pipeline.mft_features import build_mft_features
from tickhandler_dagster.pipeline.mft_rows import MftDay

IDENTITY = [column.name for column in MFT_IDENTITY]


def values(frame):
    return frame.drop(IDENTITY)


def series_days(lab):
    return len(halo_of(lab.plan().features, lab.timeframe).series)


def test_a_day_has_a_row_per_bar_and_obeys_its_table(mft_lab):
    mft_lab.put_days(range(12))
    result = mft_lab.build(11)
    assert (result.built, result.files_written) == (2, 2)
    table = table_of(mft_lab.plan().features)
    for key in (mft_lab.btc, mft_lab.eth):
        rows = mft_lab.rows(11, key)
        assert rows["ts_open"].dt.hour().to_list() == [0, 4, 8, 12, 16, 20]
        assert not SchemaCheck(table).run([(key, rows)]).failures
    manifest = result.manifests[mft_lab.timeframe]
    assert not SchemaCheck(MFT_MANIFEST_TABLE).run([("manifest", manifest)]).failures


def test_values_are_null_and_never_nan(mft_lab):
    mft_lab.put_days(range(12))
    mft_lab.build(11)
    floats = mft_lab.rows(11).select(pl.selectors.float())
    assert not any(floats.select(pl.all().is_nan().any()).row(0))
    assert not any(floats.select(pl.all().is_infinite().any()).row(0))


def test_windows_reach_across_midnight(mft_lab):
    mft_lab.put_days(range(2))
    mft_lab.build(1)
    before, bars = mft_lab.candles(0), mft_lab.candles(1)
    expected = bars["close"][0] / before["close"][-1]
    first = mft_lab.rows(1)["log_return_1"][0]
    assert first == pytest.approx(pl.Series([expected]).log()[0], rel=1e-12)


def test_a_second_run_reads_no_bar_and_writes_no_byte(mft_lab, monkeypatch):
    mft_lab.put_days(range(4))
    mft_lab.build(3)
    before = mft_lab.written()

    def refuse(self):
        raise AssertionError("a bar was read")

    monkeypatch.setattr(MftDay, "rows", refuse)
    again = mft_lab.build(3)
    assert again.is_no_op
    assert again.manifests[mft_lab.timeframe].height == 2
    assert mft_lab.written() == before


def test_a_rebuild_from_nothing_gives_the_same_bytes(make_mft_lab):
    one, two = make_mft_lab("one"), make_mft_lab("two")
    for lab in (one, two):
        lab.put_days(range(5))
    for number in range(5):
        one.build(number)
    for number in (3, 0, 4, 1, 2):
        two.build(number)
    assert one.written() == two.written()


def test_a_lost_file_is_made_again_with_the_same_bytes(mft_lab):
    mft_lab.put_days(range(4))
    mft_lab.build(3)
    before = mft_lab.written()
    mft_lab.lake.delete(MftFile(mft_lab.day(3), mft_lab.timeframe, mft_lab.btc))
    assert mft_lab.build(3).files_written == 1
    assert mft_lab.written() == before


def test_a_changed_day_makes_new_exactly_the_days_that_read_it(make_mft_lab):
    lab = make_mft_lab(timeframe=Timeframe.H1)
    reach = series_days(lab)
    assert reach == 11
    days = range(reach + 33)
    lab.put_days(days, keys=(lab.btc,))
    for number in days:
        lab.build(number)
    lab.put(2, seed=2)
    rebuilt = [number for number in days if not lab.build(number).is_no_op]
    weeks = [2 + 7 * week for week in range(1, 5)]
    assert rebuilt == sorted({*range(2, 2 + reach + 1), *weeks})


def test_another_24h_candle_makes_new_the_thirty_days_after_it(mft_lab):
    days = range(1, 35)
    mft_lab.put_days(days, keys=(mft_lab.btc,))
    for number in days:
        mft_lab.put(number, timeframe=Timeframe.H24)
    for number in days:
        mft_lab.build(number)
    mft_lab.put(2, timeframe=Timeframe.H24, seed=2)
    rebuilt = [number for number in days if not mft_lab.build(number).is_no_op]
    assert rebuilt == list(range(3, 33))


def test_a_changed_value_raises_the_version_of_its_row_alone(mft_lab):
    mft_lab.put_days(range(3), keys=(mft_lab.btc,))
    mft_lab.build(2)
    bars = mft_lab.candles(2)
    last = bars["ts_open"][-1]
    changed = bars.with_columns(
        close=pl.when(pl.col("ts_open") == last).then(pl.col("high")).otherwise("close")
    )
    mft_lab.put(2, frame=changed)
    result = mft_lab.build(2)
    assert mft_lab.rows(2)["row_version"].to_list() == [1, 1, 1, 1, 1, 2]
    assert (result.changes.changed, result.changes.new) == (1, 0)


def test_a_missing_day_is_a_gap_and_not_a_shorter_window(mft_lab):
    mft_lab.put_days((0, 1, 3), keys=(mft_lab.btc,))
    result = mft_lab.build(3)
    rows = mft_lab.rows(3)
    assert rows["log_return_1"].is_null().to_list() == [True] + [False] * 5
    assert rows["log_return_2"].is_null().to_list() == [True] * 2 + [False] * 4
    (missing,) = [one for one in result.missing[mft_lab.timeframe] if "candles/4h" in one]
    assert missing == f"candles/4h {mft_lab.day(2)}|binance-futures"
    assert missing in mft_lab.manifest(3)["halo_missing"]
    assert mft_lab.manifest(3)["null_gap"] > 0


def test_a_day_that_comes_in_late_heals_the_gap(mft_lab):
    mft_lab.put_days((0, 1, 3), keys=(mft_lab.btc,))
    mft_lab.build(3)
    mft_lab.put_days((2,), keys=(mft_lab.btc,))
    assert not mft_lab.build(3).is_no_op
    assert mft_lab.rows(3)["log_return_2"].null_count() == 0


def test_days_before_the_grid_are_neither_read_nor_missing(mft_lab):
    mft_lab.put_days(range(4), keys=(mft_lab.btc,))
    result = mft_lab.build(3, first=3)
    assert result.missing[mft_lab.timeframe] == ()
    assert mft_lab.rows(3)["log_return_1"][0] is None
    manifest = mft_lab.manifest(3)
    assert (manifest["halo_partitions"], manifest["halo_present"]) == (0, 0)
    assert manifest["null_history"] > 0
    assert manifest["null_gap"] == 0


def test_without_candles_of_the_day_the_remedy_is_said(mft_lab):
    mft_lab.put_days((0,))
    with pytest.raises(MissingUpstream, match=r"candles/4h 2024-08-02\|.*--select candles/4h"):
        mft_lab.build(1)


def test_a_candle_file_that_is_gone_is_said(mft_lab):
    mft_lab.put_days(range(2))
    mft_lab.lake.delete(CandleFile(mft_lab.day(0), mft_lab.timeframe, mft_lab.eth))
    with pytest.raises(MissingUpstream, match="in the manifest, not in the lake"):
        mft_lab.build(1)


def test_candles_with_other_columns_are_said(mft_lab):
    mft_lab.put_days(range(2), keys=(mft_lab.btc,))
    item = CandleFile(mft_lab.day(0), mft_lab.timeframe, mft_lab.btc)
    old = mft_lab.lake.read_table(item).drop("mid_price")
    old.write_parquet(mft_lab.lake.local(item))
    with pytest.raises(CorruptData, match="columns are missing"):
        mft_lab.build(1)


def test_provisional_bars_have_no_values_and_break_windows(mft_lab):
    mft_lab.put_days(range(2), keys=(mft_lab.btc,))
    bars = mft_lab.candles(1).with_columns(is_final=pl.col("ts_open").dt.hour() != 8)
    mft_lab.put(1, frame=bars)
    mft_lab.build(1)
    rows = mft_lab.rows(1)
    assert rows["is_final"].to_list() == [True, True, False, True, True, True]
    assert values(rows)[2].null_count().sum_horizontal()[0] == len(values(rows).columns)
    assert rows["log_return_1"].is_null().to_list() == [False, False, True, True, False, False]


def test_a_provisional_day_says_so(mft_lab):
    mft_lab.put_days((0,), keys=(mft_lab.btc,))
    mft_lab.put(1, is_final=False)
    mft_lab.build(1)
    manifest = mft_lab.manifest(1)
    assert manifest["null_provisional"] == manifest["features"]
    assert manifest["first_value_at"] is None
    assert manifest["warm_at"] is None


@pytest.mark.parametrize("allow_gaps", [False, True])
def test_a_vendor_gap_breaks_windows_unless_gaps_are_allowed(mft_lab, allow_gaps):
    mft_lab.put_days(range(2), keys=(mft_lab.btc,))
    gone = {"open": None, "high": None, "low": None, "close": None, "trade_count": 0}
    bars = mft_lab.candles(1)
    is_gap = pl.col("ts_open").dt.hour() == 8
    bars = bars.with_columns(
        status=pl.when(is_gap).then(pl.lit("vendor_gap")).otherwise("status"),
        **{
            name: pl.when(is_gap).then(pl.lit(value, bars.schema[name])).otherwise(name)
            for name, value in gone.items()
        },
    )
    mft_lab.put(1, frame=bars)
    mft_lab.build(1, allow_gaps=allow_gaps)
    is_null = mft_lab.rows(1)["log_return_2"].is_null().to_list()
    assert is_null == [False] * 6 if allow_gaps else [False, False, True, True, True, False]


def test_another_gap_policy_or_other_windows_make_new(mft_lab):
    mft_lab.put_days(range(2), keys=(mft_lab.btc,))
    mft_lab.build(1)
    assert not mft_lab.build(1, allow_gaps=True).is_no_op
    assert mft_lab.build(1, allow_gaps=True).is_no_op


def test_a_listing_starts_its_own_history(mft_lab):
    mft_lab.put_days(range(2), keys=(mft_lab.btc,))
    mft_lab.put_days((2, 3), keys=(mft_lab.btc, mft_lab.eth))
    mft_lab.build(2)
    mft_lab.build(3)
    assert mft_lab.rows(2, mft_lab.eth)["log_return_1"].is_null().to_list() == [True] + [False] * 5
    assert mft_lab.rows(3, mft_lab.eth)["log_return_2"].null_count() == 0
    assert mft_lab.manifest(2, mft_lab.eth)["halo_present"] == 0
    assert mft_lab.manifest(2, mft_lab.eth)["null_history"] > 0


def test_a_delisted_instrument_is_gone_and_changes_no_day_after(mft_lab):
    mft_lab.put_days(range(2))
    mft_lab.put_days((2, 3), keys=(mft_lab.btc,))
    for number in range(4):
        mft_lab.build(number)
    assert mft_lab.rows(1, mft_lab.eth) is not None
    assert mft_lab.rows(2, mft_lab.eth) is None
    mft_lab.put(1, mft_lab.eth, seed=2)
    assert [number for number in range(4) if not mft_lab.build(number).is_no_op] == [1]


def test_an_instrument_that_leaves_the_partition_leaves_no_file(mft_lab):
    mft_lab.put_days(range(2))
    mft_lab.build(1)
    mft_lab.drop(1, mft_lab.eth)
    mft_lab.build(1)
    assert mft_lab.rows(1, mft_lab.eth) is None
    frame = mft_lab.lake.read_table(MftManifest(mft_lab.day(1), mft_lab.timeframe, mft_lab.venue))
    assert frame["instrument_key"].to_list() == [mft_lab.btc]


def test_options_are_left_out(mft_lab):
    option = "BINANCE-FUTURES:OPTION:BTC-USDT-240927-60000-CALL"
    mft_lab.put_days(range(2), keys=(mft_lab.btc, option))
    result = mft_lab.build(1)
    assert result.manifests[mft_lab.timeframe]["instrument_key"].to_list() == [mft_lab.btc]


def test_a_venue_without_instruments_has_an_empty_manifest(mft_lab):
    mft_lab.put_days(range(2), keys=(mft_lab.btc,))
    mft_lab.drop(1, mft_lab.btc)
    result = mft_lab.build(1)
    assert result.manifests[mft_lab.timeframe].height == 0
    assert mft_lab.build(1).is_no_op


def test_a_row_is_known_no_earlier_than_any_bar_before_it(mft_lab):
    mft_lab.put_days(range(2), keys=(mft_lab.btc,))
    late = dt.timedelta(hours=5)
    bars = mft_lab.candles(1)
    is_late = pl.col("ts_open").dt.hour() == 8
    mft_lab.put(
        1,
        frame=bars.with_columns(
            available_at=pl.when(is_late)
            .then(pl.col("available_at") + late)
            .otherwise("available_at")
        ),
    )
    mft_lab.build(1)
    known, own = mft_lab.rows(1)["available_at"], bars["available_at"]
    assert known[3] == own[2] + late
    assert [one for place, one in enumerate(known) if place not in {2, 3}] == [
        one for place, one in enumerate(own) if place not in {2, 3}
    ]


def test_a_row_is_known_no_earlier_than_the_slowest_instrument_of_its_bar(mft_lab):
    mft_lab.put_days(range(2))
    bars = mft_lab.candles(1, mft_lab.eth).with_columns(
        pl.col("available_at") + dt.timedelta(minutes=1)
    )
    mft_lab.put(1, mft_lab.eth, frame=bars)
    mft_lab.build(1)
    assert mft_lab.rows(1)["available_at"].to_list() == bars["available_at"].to_list()


def test_the_reference_is_the_venues_bitcoin(make_mft_lab):
    lab = make_mft_lab(timeframe=Timeframe.H1)
    lab.put_days(range(5))
    lab.build(4)
    assert lab.manifest(4, lab.eth)["reference_key"] == lab.btc
    assert lab.rows(4, lab.eth)["reference_beta_60"].null_count() == 0
    assert lab.rows(4)["reference_correlation_60"].to_list() == pytest.approx([1.0] * 24)
    assert lab.rows(4)["reference_residual_60"].null_count() == 24


def test_ranks_are_over_the_instruments_that_are_final_at_the_bar(mft_lab):
    names = "ABCDEF"
    keys = [f"BINANCE-FUTURES:PERPETUAL:{name}-USDT" for name in names]
    mft_lab.put_days(range(2), keys=keys)
    bars = mft_lab.candles(1, keys[0]).with_columns(is_final=pl.col("ts_open").dt.hour() != 8)
    mft_lab.put(1, keys[0], frame=bars)
    mft_lab.build(1)
    for place in range(6):
        returns = {key: mft_lab.rows(1, key)["log_return_1"][place] for key in keys}
        ranks = {key: mft_lab.rows(1, key)["cs_rank_log_return_1"][place] for key in keys}
        members = sorted((value, key) for key, value in returns.items() if value is not None)
        assert len(members) == (5 if place in {2, 3} else 6)
        expected = {key: (rank + 0.5) / len(members) - 0.5 for rank, (_, key) in enumerate(members)}
        assert {key: value for key, value in ranks.items() if value is not None} == pytest.approx(
            expected
        )


def test_other_venues_give_a_spread_and_a_share(mft_lab):
    other, key = VenueId.BYBIT, "BYBIT:PERPETUAL:BTC-USDT"
    mft_lab.venues = [other, mft_lab.venue]
    for number in range(2):
        mft_lab.put_days((number,), keys=(mft_lab.btc,))
        mft_lab.put(number, key, venue=other)
        mft_lab.list_instruments(number, venue=other)
    mft_lab.build(1)
    own, there = mft_lab.candles(1), mft_lab.candles(1, key)
    rows = mft_lab.rows(1)
    expected = (own["mid_price"] / there["mid_price"]).log().to_list()
    assert rows["cross_venue_spread"].to_list() == pytest.approx(expected)
    share = (own["notional"] / (own["notional"] + there["notional"])).to_list()
    assert rows["venue_share_1"].to_list() == pytest.approx(share)
    mft_lab.build(1, venue=other)
    there_rows = mft_lab.rows(1, key)
    assert there_rows["cross_venue_spread"].null_count() == 6, "the reference venue itself"
    total = (rows["venue_share_1"] + there_rows["venue_share_1"]).to_list()
    assert total == pytest.approx([1.0] * 6)
    mft_lab.put(1, key, venue=other, seed=5)
    assert not mft_lab.build(1).is_no_op
    mft_lab.lose(1, venue=other)
    mft_lab.build(1)
    assert mft_lab.rows(1)["cross_venue_spread"].null_count() == 6


def test_every_feature_without_a_value_has_a_reason(mft_lab):
    mft_lab.put_days(range(3))
    mft_lab.build(2)
    manifest = mft_lab.manifest(2)
    rows = values(mft_lab.rows(2))
    empty = [name for name in rows.columns if rows[name].null_count() == rows.height]
    assert sum(manifest[f"null_{reason}"] for reason in NullReason) == len(empty)
    assert manifest["features_with_values"] == len(rows.columns) - len(empty)
    assert manifest["null_no_input"] > 0, "there is no option surface"
    assert manifest["first_value_at"] == mft_lab.rows(2)["ts_open"][0]


def test_progress_is_told_per_instrument(mft_lab):
    mft_lab.put_days(range(2))
    told = []
    build_mft_features(
        VenueDay(mft_lab.day(1), mft_lab.venue),
        lake=mft_lab.lake,
        plan=mft_lab.plan(),
        timeframes=(mft_lab.timeframe,),
        on_progress=told.append,
    )
    assert [(one.done, one.total, one.rows) for one in told] == [(1, 2, 6), (2, 2, 12)]


def test_a_killed_run_is_finished_by_the_next_with_the_same_bytes(make_mft_lab, monkeypatch):
    lab, clean = make_mft_lab("killed"), make_mft_lab("clean")
    for one in (lab, clean):
        one.put_days(range(3))
        one.build(2)
        one.put(1, one.btc, seed=2)

    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mft_features, "write_mft_manifest", die)
        with pytest.raises(KeyboardInterrupt):
            lab.build(2)
    assert not lab.build(2).is_no_op
    clean.build(2)
    assert lab.written() == clean.written()
    assert lab.build(2).is_no_op


def test_all_timeframes_of_a_cell_are_what_each_is_alone(make_mft_lab):
    both, alone = make_mft_lab("both"), make_mft_lab("alone")
    pair = (Timeframe.H4, Timeframe.H24)
    for lab in (both, alone):
        lab.put_days(range(3))
        for number in range(3):
            lab.put(number, timeframe=Timeframe.H24)
    both.build(2, timeframes=pair)
    for timeframe in reversed(pair):
        alone.build(2, timeframes=(timeframe,))
    assert both.written() == alone.written()
