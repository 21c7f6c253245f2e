"""Dagster resources that build adapters from the settings. They know no partition and no asset."""
