"""Mid-frequency features: what is computed from bars over bars, looking back over days.

What belongs here: entries, windows and their evaluation on a series of bars. What does not: bars
themselves (`market/bars`, `market/features`) and where they are stored (`pipeline`).
"""
