"""Dagster's instance as this grid needs it: where Dagster's own takes the square of the grid.

What belongs here: parts that `dagster.yaml` names and every process of Dagster loads, so Dagster
and nothing else is imported. What does not: assets, resources and what they mean.
"""
