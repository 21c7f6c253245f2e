"""Trades become bars: order, statistics, roll-up, ratios, grid and status, a module for each.

What does not belong here: where trades come from and where bars go (`pipeline/candles.py`), and the
table's columns (`market/candle_table.py`).
"""
