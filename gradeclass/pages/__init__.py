"""The Voilà pages: for each panel a model without widgets and a view."""
import os
import sys

# A page's process is 40 MB smaller without pyarrow, which no page reads, and hypothesis, which pandera imports.
if os.environ.get("GRADECLASS_THIN"):
    for unused in ("pyarrow", "hypothesis"):
        sys.modules.setdefault(unused, None)
