"""The domain: instruments, tick files, bars and their rules as pure functions of values.

Nothing here knows Dagster, the network, the file system, the environment, the clock or chance.
"""
