"""How the documentation is built: `make docs`.

What belongs here: what Sphinx is told. The pages are Markdown that reads on its own; Sphinx makes
one linked, searchable site of them, takes the reference of the reader from its docstrings, and
refuses a link that leads nowhere.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for `messages_table`

project = "Tickhandler"
author = "The Tickhandler authors"
copyright = "the Tickhandler authors"  # noqa: A001  (Sphinx's name for it)

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "messages_table"]
exclude_patterns = ["notebooks", "**.ipynb_checkpoints"]

# ---- pages --------------------------------------------------------------------------------------
# Anchors of headings as GitHub makes them, so that a link works in both places.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

# ---- reference ----------------------------------------------------------------------------------
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
default_role = "code"  # docstrings are Markdown: `name` is code
napoleon_numpy_docstring = False
napoleon_custom_sections = [
    ("Shape", "params_style"),
    ("Units", "notes_style"),
    ("Nulls", "notes_style"),
    ("Source", "notes_style"),
]

# ---- look ---------------------------------------------------------------------------------------
html_theme = "furo"  # one style sheet, light and dark, no request to another host
html_title = "Tickhandler"
html_copy_source = False
html_show_sphinx = False
html_static_path: list[str] = []
