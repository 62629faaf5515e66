"""What Sphinx needs to know; docs/build.py calls it on docs/_build/source."""
from gradeclass import __version__

project = "gradeclass"
author = "The gradeclass developers"
copyright = f"2026 onwards, {author}"
release = __version__
extensions = ["myst_nb", "sphinx_copybutton"]
nb_execution_mode = "off"  # Notebooks are shown with the outputs that they keep
nb_merge_streams = True
nb_ipywidgets_js = {}  # Nothing is fetched from elsewhere
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]
suppress_warnings = ["myst.header"]  # A lesson may leave out a level of headings
smartquotes = False  # They would make a dash of the two of --cron
html_theme = "furo"
html_title = "gradeclass"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
copybutton_selector = "div.highlight-bash pre, div.highlight-python pre, div.cell_input pre"
