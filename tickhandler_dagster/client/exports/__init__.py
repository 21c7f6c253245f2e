"""The reader's rows in the forms that other libraries read: one module for each.

What belongs here: their layouts, written without them; none of these libraries is needed to write
for it. What does not: rules of reading (`client/market_data.py`), which apply as they do there.

What a consumer takes for the moment of knowing is always the moment of knowing: `available_at` of a
bar, the arrival of a tick.
"""

from tickhandler_dagster.client.exports.feast import export_feast
from tickhandler_dagster.client.exports.hftbacktest import export_hftbacktest
from tickhandler_dagster.client.exports.nautilus import export_nautilus
from tickhandler_dagster.client.exports.vectorbt import vectorbt_frame

__all__ = ["export_feast", "export_hftbacktest", "export_nautilus", "vectorbt_frame"]
