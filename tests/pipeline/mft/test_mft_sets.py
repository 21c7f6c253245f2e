"""Named sets of features: their columns, their bytes, and what makes them new."""

from __future__ import annotations

import pytest

from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import CorruptData, InvalidSetting, MissingUpstream
from tickhandler_dagster.market.mft.configured import FeatureSet
from tickhandler_dagster.market.mft_set_table import MFT_SET_MANIFEST_TABLE
from tickhandler_dagster.market.mft_table import MFT_IDENTITY
from tickhandler_dagster.market.paths import MftFile, MftSetFile
from tickhandler_dagster.market.schema_check import SchemaCheck
from tickhandler_dagster.pipeline.mft_sets import build_mft_set, verify_mft_set

IDENTITY = [column.name for column in MFT_IDENTITY]


@pytest.fixture
def lab(mft_lab):
    mft_lab.put_days(range(3))
    mft_lab.build(2)
    return mft_lab


def core(lab, *patterns):
    return FeatureSet("core", patterns or ("rsi_*", "log_return_1"), (lab.timeframe,))


def cut(lab, chosen, number=2):
    cell = VenueDay(lab.day(number), lab.venue)
    return build_mft_set(cell, chosen, lake=lab.lake, plan=lab.plan())


def stored(lab, key):
    return lab.lake.read_table(MftSetFile("core", lab.day(2), lab.timeframe, key))


def test_a_set_is_the_stored_columns_in_its_own_order(lab):
    result = cut(lab, core(lab))
    assert result.files_written == 2
    rows = stored(lab, lab.btc)
    assert rows.columns[: len(IDENTITY)] == IDENTITY
    assert rows.columns[-1] == "log_return_1"
    assert all(name.startswith("rsi_") for name in rows.columns[len(IDENTITY) : -1])
    assert rows.equals(lab.rows(2).select(rows.columns))
    assert not SchemaCheck(MFT_SET_MANIFEST_TABLE).run([("manifest", result.manifest)]).failures
    cell = VenueDay(lab.day(2), lab.venue)
    report = verify_mft_set(lab.lake, cell, core(lab), plan=lab.plan(), manifest=result.manifest)
    assert report.has_passed
    assert report.rows == 12


def test_a_second_cut_writes_nothing(lab):
    first = cut(lab, core(lab))
    before = lab.written()
    again = cut(lab, core(lab))
    assert again.files_written == 0
    assert again.data_version == first.data_version
    assert lab.written() == before


def test_changed_features_and_other_columns_are_cut_anew(lab):
    cut(lab, core(lab))
    assert cut(lab, core(lab, "log_return_2")).files_written == 2
    assert stored(lab, lab.btc).columns[len(IDENTITY) :] == ["log_return_2"]
    lab.put(2, lab.eth, seed=7)
    lab.build(2)
    assert cut(lab, core(lab, "log_return_2")).files_written >= 1


def test_an_instrument_that_is_gone_leaves_no_file(lab):
    cut(lab, core(lab))
    lab.drop(2, lab.eth)
    lab.build(2)
    assert cut(lab, core(lab)).manifest["instrument_key"].to_list() == [lab.btc]
    assert stored(lab, lab.eth) is None


def test_what_is_missing_is_said_with_its_remedy(lab):
    with pytest.raises(MissingUpstream, match=r"mft_features/4h .*--select mft_features/4h"):
        cut(lab, core(lab), number=1)
    with pytest.raises(InvalidSetting, match=r"MFT_SETS: core: no feature .*was 'nothing_\*'"):
        cut(lab, core(lab, "nothing_*"))
    lab.lake.delete(MftFile(lab.day(2), lab.timeframe, lab.btc))
    with pytest.raises(MissingUpstream, match="in the manifest, not in the lake"):
        cut(lab, core(lab))


def test_features_of_other_windows_are_said(lab):
    item = MftFile(lab.day(2), lab.timeframe, lab.btc)
    lab.rows(2).drop("log_return_1").write_parquet(lab.lake.local(item))
    with pytest.raises(CorruptData, match="columns are missing"):
        cut(lab, core(lab))
