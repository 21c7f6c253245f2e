"""The page of `tickhandler report`: one HTML file that needs nothing else, and its parts.

`page.py` puts it together from `page.html.j2`, `page.css` and the scripts; `payload.py` packs what
the scripts read; `figures.py` makes what is there without scripts.
"""
