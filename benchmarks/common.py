"What the benchmarks share: finding the tables, and writing Markdown"
from pathlib import Path

from gradeclass.config import GradeclassError, find_home, setting
from gradeclass.data.dataset import clean
from gradeclass.data.sources import load

FILES = {"students": "students_performance.csv", "higher_ed": "student_prediction.csv"}


class BenchmarkError(GradeclassError):
    "A benchmark that cannot be run as asked"


def data_folder(named=None):
    "The folder that is named, else `GRADECLASS_REAL_DATA`, else data/raw"
    return Path(named or setting("GRADECLASS_REAL_DATA") or find_home()/"data"/"raw")


def find_table(name, folder):
    "The published table of a data set; what to do where it is missing"
    found = folder/FILES[name]
    if found.is_file(): return found
    raise BenchmarkError(f"the table {FILES[name]} is not in {folder}: put it there, name its folder with --data, or "
                         f"run `gradeclass data fetch {name}`")


def read_students(name, folder):
    "Schema and clean frame of a published table"
    dataset = load(find_table(name, folder), name)
    return dataset.schema, clean(dataset.frame, dataset.schema)


def with_interval(value, low=None, high=None, digits=3):
    "A number with its interval, such as '0.773 [0.756, 0.790]'"
    if value is None or value != value: return "–"
    text = f"{value:.{digits}f}"
    return text if low is None or low != low else f"{text} [{low:.{digits}f}, {high:.{digits}f}]"


def markdown(rows):
    "A Markdown table of a list of dicts with the same keys"
    if not rows: return ""
    heads = list(rows[0])
    lines = [heads, ["---"]*len(heads), *([str(row[head]) for head in heads] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
