"""One use case per module: the work of a partition from plan to manifest, without Dagster.

What belongs here: which objects of the lake are read and written in which order, and what is asked
of the vendor. What does not: rules of the domain (`market`), how bytes travel (`adapters`) and what
runs when (`assets` and above).
"""
