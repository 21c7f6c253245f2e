"""Where live ticks and live bars go: files of the lake, or tables of BigQuery.

What belongs here: cutting what comes into deliveries, and remembering what was delivered, so that
nothing is lost and nothing comes twice. What does not: how bytes get into a bucket or a table
(`adapters/`), and what a bar is (`market/`).
"""
