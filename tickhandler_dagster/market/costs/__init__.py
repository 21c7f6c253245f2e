"""What a piece of work costs before it is done: bytes, calls, money and time from statistics.

What belongs here: the arithmetic, and the tables of prices and constants it uses. What does not:
reading statistics (`pipeline/plan.py`) and showing them (`cli/plan.py`).
"""
