"""`tickhandler sql`: the lake under the warehouse's names, asked at once or from a file."""

from __future__ import annotations

import json

import duckdb
import pytest
from typer.testing import CliRunner

from tickhandler_dagster.cli.app import app
from tickhandler_dagster.client import open_market_data
from tickhandler_dagster.market.errors import InvalidInput, MissingUpstream
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.warehouse_tables import warehouse_tables


@pytest.fixture
def asked(lab, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAKE_ROOT", str(lab.root))

    def run(*words):
        done = CliRunner().invoke(app, ["sql", *words], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    return run


@pytest.fixture
def bars(lab):
    for day in (lab.one, lab.two):
        lab.put_universe(day, lab.instrument(lab.btc))
    from_nine = lab.bars(lab.one, is_final=lambda place: place < 1430)
    lab.store_counted(lab.one, from_nine)
    lab.store_counted(lab.two, lab.bars(lab.two))
    return lab


def test_a_question_is_answered_from_the_lakes_own_files(asked, bars):
    question = "select count(*) n, min(ts_open) opened from candles_1m_final"
    row = json.loads(asked(question, "--json"))
    assert row == {"n": 2870, "opened": "2024-08-08 00:00:00+00:00"}
    one = asked("select count(*) n from candles_1m", "--start-date", "2024-08-09", "--json")
    assert json.loads(one) == {"n": 1440}
    assert "instrument_key" in asked("select instrument_key from instruments")


def test_a_file_has_every_table_of_the_warehouse_under_its_name(asked, bars, tmp_path):
    asked("--file", str(tmp_path / "made" / "lake.duckdb"))
    asked("--file", str(tmp_path / "made" / "lake.duckdb"))  # again: replaced whole
    with duckdb.connect(tmp_path / "made" / "lake.duckdb", read_only=True) as connection:
        found = connection.execute(
            "select view_name from duckdb_views() where not internal and schema_name = 'main'"
        ).fetchall()
        names = {name for (name,) in found}
        tables = warehouse_tables(Windows())
        assert names == {table.name for table in tables} | {
            table.final_view for table in tables if table.has_final_rows
        }
        count = connection.execute("select count(*) from candles_1m_final").fetchone()
        assert count == (2870,)
        assert connection.execute("select count(*) from candles_5m").fetchone() == (0,)
    assert [file.name for file in (tmp_path / "made").iterdir()] == ["lake.duckdb"]


def test_what_cannot_be_answered_is_said_in_a_sentence(asked, bars):
    for words, kind, said in (
        ([], InvalidInput, "nothing asked"),
        (["select nothing from candles_1m"], InvalidInput, "the question: Binder Error"),
        (["select 1", "--start-date", "2030-01-01"], MissingUpstream, "no day from 2030-01-01"),
        (["select 1 from candles_1m", "--warehouse"], MissingUpstream, "published"),
    ):
        with pytest.raises(kind, match=said):
            asked(*words)


def test_a_bucket_is_asked_about_named_days_and_keeps_no_copies_beside_the_caches(
    asked, bars, monkeypatch, gcs, tmp_path
):
    bucket, cache = gcs.bucket(), tmp_path / "cache"
    far = open_market_data(f"gs://{bucket}", endpoint=gcs.endpoint, cache=cache).lake.store
    for file in bars.root.rglob("*.parquet"):
        far.write(file.relative_to(bars.root).as_posix(), file.read_bytes())
    for name, value in (
        ("GCS_BUCKET", bucket),
        ("GCS_ENDPOINT", gcs.endpoint),
        ("CACHE_FOLDER", str(cache)),
    ):
        monkeypatch.setenv(name, value)
    days = ["--start-date", "2024-08-08", "--end-date", "2024-08-09"]
    question = (
        "select count(*) n, count(distinct i.date) listed from candles_1m_final, instruments i"
    )
    assert json.loads(asked(question, *days, "--json")) == {"n": 2 * 2870, "listed": 2}
    assert not list((cache / "_scratch").iterdir())
    with pytest.raises(InvalidInput, match="of which named days alone"):
        asked(question, "--start-date", "2024-08-08")
    with pytest.raises(MissingUpstream, match="nothing of candles_5m on these days"):
        asked("select 1 from candles_5m", *days)
    with pytest.raises(InvalidInput, match="would name copies"):
        asked("--file", str(tmp_path / "lake.duckdb"), *days)
