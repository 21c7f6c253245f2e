"""What happens without somebody pressing a button: sensors, jobs, backfills they start.

What a partition's work is belongs to `pipeline/`, the command line to `cli/`.
"""
