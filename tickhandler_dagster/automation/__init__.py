"""What Dagster does besides assets: sensors, jobs a person starts, backfills both of them launch.

What a partition's work is belongs to `pipeline/`, the command line to `cli/`.
"""
