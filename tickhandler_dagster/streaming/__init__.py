"""Live ticks and live bars: a spool in, bars of the batch's kernel out.

What belongs here: reading what a feed has spooled, closing bars, amending them, handing them to
sinks and subscribers. What does not: computing a bar (`market/bars`), files and sockets of vendors
(`adapters/`), Dagster's view of it (`automation/`, `assets/`).
"""
