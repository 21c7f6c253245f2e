"""A build of bars that is killed: what it leaves is whole, and the next run ends the same."""

from __future__ import annotations

import shutil

import pytest

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.timeframes import Timeframe

TRADES, QUOTES = DataType.TRADES, DataType.QUOTES
COARSE = (Timeframe.H1, Timeframe.H24)
OTHER = "BINANCE-FUTURES:PERPETUAL:ETH-USDT"
FILES = 2 * len(COARSE)
# Within the files of one instrument and of the other, before the states, before and between the
# manifests.
KILLS = (1, FILES - 1, FILES, FILES + 1, FILES + 2)


@pytest.fixture(scope="module")
def lakes(tmp_path_factory, new_lab):
    """A lake with bars of trades and quotes that came after them; and what has to become of it."""
    root = tmp_path_factory.mktemp("lakes")
    with_news(new_lab(root / "news"))
    done = with_news(new_lab(root / "done"))
    assert done.build(timeframes=COARSE).files_written == FILES
    return root / "news", done.written()


def with_two(lab):
    eth = lab.instrument(instrument_key=OTHER, tardis_symbol="ETHUSDT", base_asset="ETH")
    lab.listed = [lab.instrument(), eth]
    return lab


def with_news(lab):
    """Two instruments with bars, then a new channel of both."""
    with_two(lab)
    frames = {key: lab.market(lab.one, seed=key) for key in (lab.key, OTHER)}
    for key, content in frames.items():
        lab.put(lab.one, TRADES, content[TRADES], key=key)
    lab.build(timeframes=COARSE)
    for key, content in frames.items():
        lab.put(lab.one, QUOTES, content[QUOTES], key=key)
    return lab


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("last", KILLS)
def test_a_run_killed_at_any_write_is_finished_by_the_next_to_the_same_bytes(
    make_lab, lakes, monkeypatch, last
):
    news, expected = lakes
    lab = with_two(make_lab("killed"))
    shutil.copytree(news, lab.lake.store.root)
    writes = []
    write = Lake.write_table

    def write_or_die(self, item, *args, **options):
        writes.append(item)
        if len(writes) > last:
            raise Killed
        return write(self, item, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "write_table", write_or_die)
        with pytest.raises(Killed):
            lab.build(timeframes=COARSE)
    assert len(writes) > last
    whole = {path for path, data in lab.written().items() if data == expected.get(path)}
    assert len(whole) >= last  # what was written is whole
    assert lab.build(timeframes=COARSE).built == 2
    assert lab.written() == expected
    assert lab.build(timeframes=COARSE).is_no_op
