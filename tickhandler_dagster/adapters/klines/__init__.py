"""Where klines come from: a venue's public API, or files that somebody put in a folder.

What belongs here: reading them into the one form of `market/klines.py`. What does not: comparing
them with bars (`market/kline_comparison.py`).
"""
