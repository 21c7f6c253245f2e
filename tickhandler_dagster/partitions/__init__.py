"""Dagster's view of the grid: partition definitions, keys and mappings; no resource, no asset."""
