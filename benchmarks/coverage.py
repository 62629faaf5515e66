"""How often 95 % intervals hold the truth where few or most students are at risk.

    python benchmarks/coverage.py                       # rates from 2 to 60 %, lists of 25 and 100 students (a minute)
    python benchmarks/coverage.py --tables 200

Each table is drawn from risks that are known. A list's truth is the mean risk of those on it; a rate's truth is the rate. Clustered: five
rows a student, all alike, so that a hundred rows are twenty students.

The bar is 0.92 to 0.98. One figure cannot meet it: of lists of 25 at a risk of 2 %, 60 % hold nobody at risk, 31 % one and 8 % two, so that any
interval holds the truth for 0.911 of them (Wilson's, without the last) or for 0.987 (Clopper-Pearson's and Jeffreys', with it)."""
import argparse
import sys

import numpy as np
from common import markdown

from gradeclass.evaluation.ranking import find_threshold
from gradeclass.evaluation.resampling import distinct_interval
from gradeclass.schema import load_schema

RATES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6)
BAR = 0.92, 0.98
SCALE = load_schema("students").grades


def covers_list(rng, rate, listed, students=500):
    "Whether the interval of a list's precision holds the risk of those on it"
    risk = np.r_[np.full(listed, rate), np.full(students - listed, rate/4)]
    y = np.where(rng.random(students) < risk, 4, 0)
    p = np.column_stack([1 - risk, np.zeros((students, 3)), risk])
    found = find_threshold(y, p, SCALE, listed)
    return found.precision_low <= rate <= found.precision_high


def covers_rate(rng, rate, size, clustered):
    "Whether the interval of a share holds its truth"
    units = np.repeat(np.arange(size//5), 5) if clustered else np.arange(size)
    hits = (rng.random(units.max() + 1) < rate)[units]
    low, high = distinct_interval(hits, units if clustered else None)
    return low <= rate <= high


def coverage(rate, tables):
    "One line: the share of intervals that hold the truth"
    rng, row = np.random.default_rng(int(1000*rate)), {"rate": f"{rate:.0%}"}
    for listed in (25, 100):
        row[f"list of {listed}"] = np.mean([covers_list(rng, rate, listed) for _ in range(tables)])
    for size, clustered in ((100, False), (400, False), (500, True)):
        name = f"rate of {size}{', clustered' if clustered else ''}"
        row[name] = np.mean([covers_rate(rng, rate, size, clustered) for _ in range(tables)])
    return row


def main(words=None):
    "Print the share of intervals that hold the truth; 1 where a figure misses the bar"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=2000, help="tables drawn for each figure")
    tables = parser.parse_args(words).tables
    rows = [coverage(rate, tables) for rate in RATES]
    print(markdown([{name: value if name == "rate" else f"{value:.3f}" for name, value in row.items()} for row in rows]))
    missed = [f"{name} at {row['rate']}: {value:.3f}" for row in rows for name, value in row.items()
              if name != "rate" and not BAR[0] <= value <= BAR[1]]
    print(f"\nFAIL, outside {BAR[0]} to {BAR[1]}: {'; '.join(missed)}" if missed else "\nPASS")
    return bool(missed)


if __name__ == "__main__": sys.exit(main())
