"""How the documentation is built: make docs."""

from __future__ import annotations

from importlib.metadata import version as installed

project = "napari-lookagain"
author = "The napari-lookagain developers"
copyright = f"2026, {author}"
version = release = installed("napari-lookagain")

extensions = ["myst_parser", "sphinx.ext.mathjax"]
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "pydata_sphinx_theme"
html_title = project
html_theme_options = {"show_prev_next": False}
html_sidebars = {"**": []}
