"""Live bars and the engine's state for whoever asks: in this process, over HTTP, on a page.

`broadcast.py` is the sink that hands bars to subscribers; `server.py` serves it; `page/` is the
page. What does not belong here: computing bars, and storing them (`streaming/sinks`).
"""
