"""Input and output behind small Protocols: object stores, Parquet, the vendor's files and replies.

What does not belong here: rules of the domain (`market`) and the order of a partition's work
(`pipeline`).
"""
