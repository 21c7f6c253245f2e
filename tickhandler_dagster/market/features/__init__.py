"""The feature registry: every feature of a bar as data, and what is computed from that data.

What belongs here: entries, one module per family, and the generic machinery over them. What does
not: the arithmetic on ticks (`market/bars`).
"""
