"""DuckDB: `COPY` from CSV to Parquet, one grouped query per timeframe.

Ingest checks nothing; DuckDB accepts a gzip whose checksum is wrong. Bars have the aggregates and
exact quantiles of `pandas_frames.py`, in the order of the file, without empty bars.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
from job import Job
from timeframes import COMPARED, SECONDS

LIBRARY = "duckdb"

_READ = """
read_csv('{source}', header = true, columns = {{
    'exchange': 'VARCHAR', 'symbol': 'VARCHAR', 'timestamp': 'BIGINT', 'local_timestamp': 'BIGINT',
    'id': 'VARCHAR', 'side': 'VARCHAR', 'price': 'DOUBLE', 'amount': 'DOUBLE'
}})
"""
_PREPARED = """
CREATE TEMP TABLE ticks AS
SELECT epoch_us("timestamp") AS time_us, local_timestamp, side, price, amount,
    file_row_number AS number,
    CASE side WHEN 'buy' THEN amount WHEN 'sell' THEN -amount ELSE 0 END AS signed,
    (epoch_us("timestamp") - lag(epoch_us("timestamp")) OVER in_order) / 1000 AS gap_ms,
    coalesce("timestamp" <> lag("timestamp") OVER in_order
        OR side <> lag(side) OVER in_order, true) AS sweep
FROM read_parquet('{ticks}', file_row_number = true)
WINDOW in_order AS (ORDER BY file_row_number)
"""
_BARS = """
COPY (
    SELECT make_timestamptz(bar) AS ts_open,
        arg_min(price, number) AS open, max(price) AS high, min(price) AS low,
        arg_max(price, number) AS close,
        min(time_us) AS open_time, max(time_us) AS close_time, max(local_timestamp) AS last_arrival,
        count(*) AS trade_count, sum(amount) AS volume, sum(price * amount) AS notional,
        coalesce(sum(amount) FILTER (side = 'buy'), 0) AS buy_volume_sum,
        coalesce(sum(amount) FILTER (side = 'sell'), 0) AS sell_volume_sum,
        coalesce(sum(amount) FILTER (side = 'unknown'), 0) AS unknown_volume_sum,
        sum(signed) AS delta, greatest(max(running), 0) AS delta_max,
        least(min(running), 0) AS delta_min, count(*) FILTER (sweep) AS sweep_count,
        stddev_samp(amount) AS size_std, max(amount) AS size_max,
        count(gap_ms) AS interarrival_count, sum(gap_ms) AS interarrival_sum_ms,
        stddev_samp(gap_ms) AS interarrival_std_ms,
        quantile_cont(amount, 0.5) AS size_p50, quantile_cont(amount, 0.9) AS size_p90,
        quantile_cont(amount, 0.99) AS size_p99, sum(price * amount) / sum(amount) AS price_vwap
    FROM (
        SELECT *, time_us - time_us % {width} AS bar,
            sum(signed) OVER (PARTITION BY time_us - time_us % {width} ORDER BY number) AS running
        FROM ticks
    )
    GROUP BY bar ORDER BY bar
) TO '{target}' (FORMAT parquet, COMPRESSION zstd)
"""


def ingest(job: Job) -> None:
    """CSV to Parquet in one statement."""
    duckdb.execute(
        f"""COPY (
            SELECT * REPLACE (make_timestamptz("timestamp") AS "timestamp",
                make_timestamptz(local_timestamp) AS local_timestamp)
            FROM {_READ.format(source=job.source)}
        ) TO '{result_ingest(job)}' (FORMAT parquet, COMPRESSION zstd)"""  # noqa: S608  (own paths)
    )


def result_ingest(job: Job) -> Path:
    """The ticks."""
    return job.folder / "ticks.parquet"


def candles(job: Job) -> None:
    """All timeframes, each from the ticks."""
    duckdb.execute(_PREPARED.format(ticks=job.ticks))
    for name, seconds in SECONDS.items():
        target = job.folder / f"{name}.parquet"
        duckdb.execute(_BARS.format(width=seconds * 1_000_000, target=target))


def result_candles(job: Job) -> Path:
    """The bars of one minute."""
    return job.folder / f"{COMPARED}.parquet"
