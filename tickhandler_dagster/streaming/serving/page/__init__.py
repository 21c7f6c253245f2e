"""The live page: one HTML file that needs nothing but the server it came from.

`page.py` puts it together from `page.html.j2`, `page.css` and the scripts: `words.js` says numbers
with their units, `chart.js` draws, `feeds.js` fills tables, `main.js` listens and reconnects.
"""
