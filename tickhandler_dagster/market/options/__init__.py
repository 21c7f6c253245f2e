"""Options: the premium formula, what a venue's units mean, and the surface of a chain.

What belongs here: values in, values out. What does not: the tables the surface is stored in and
where chains are read from (`pipeline`).
"""
