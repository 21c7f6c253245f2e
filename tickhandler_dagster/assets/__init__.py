"""Dagster assets: partition key, then a use case of `pipeline`, then events.

No data frame, no path and no query belongs in here.
"""
