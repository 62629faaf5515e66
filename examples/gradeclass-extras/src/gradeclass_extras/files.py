"File kinds: a function takes a path and gives the cells and notes on how they were read"
import json

import pandas as pd

from gradeclass.data.files import DataError
from gradeclass.plugins import PluginError


def read_json_lines(path):
    "A student a line, as a JSON object"
    rows, numbers = [], []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip(): continue
            try: row = json.loads(line)
            except ValueError: row = None
            if not isinstance(row, dict):
                raise DataError(f'{path.name}, line {number} is not a student: write {{"Age": 17, ...}} in each line')
            rows.append(row)
            numbers.append(number)
    if not rows: raise DataError(f"{path.name} holds no students")
    return pd.DataFrame(rows, index=pd.Index(numbers, name="row")), [f"{len(rows)} lines of JSON"]


def read_sav(path):
    "An SPSS file; codes with a label are read as the label"
    try: import pyreadstat
    except ImportError: raise PluginError("SPSS files need pyreadstat: pip install 'gradeclass-extras[sav]'") from None
    frame, about = pyreadstat.read_sav(str(path), apply_value_formats=True)
    labelled = [name for name in frame if name in about.variable_value_labels]
    notes = [f"labels instead of codes: {', '.join(labelled)}"] if labelled else []
    return frame.astype(dict.fromkeys(labelled, object)), notes
