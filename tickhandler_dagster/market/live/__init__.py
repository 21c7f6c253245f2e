"""Live feeds and live bars as values: what a feed says besides ticks, and the table of live bars.

What belongs here: pure rules and tables. What does not: files and sockets (`adapters/`), the engine
and what it serves (`streaming/`).
"""
