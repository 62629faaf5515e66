"""How often drift is found where there is some, and where there is none: ten simulated months, many seeds.

    python benchmarks/drift.py                # 100 seeds, months of 500 students
    python benchmarks/drift.py --seeds 20 --json out.json

The table is dealt into two halves that share no student. One half is the reference; each month is drawn from the other without replacement (with
replacement, the chance difference between the halves would count as drift), five as they are and five each with one change. Prints the share of
months flagged, and PASS or FAIL; ends with 1 where the bar is missed.
"""
import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from common import data_folder, find_table, markdown, read_students

from gradeclass.config import GradeclassError
from gradeclass.drift.compare import Limits, compare_profiles
from gradeclass.drift.profile import Profile, take_profile

# The bar: every change is found each time, an unchanged month is flagged in less than 5 %
SHARE_FOUND, FALSE_ALARMS = 1.0, 0.05
SEEDS = 100


def more_absences(frame, rng):
    "30 % more absences, 30 at the most"
    return frame.assign(Absences=(1.3*frame.Absences).round().clip(upper=30))


def double_category(frame, rng):
    "Twice as many students with tutoring"
    share = (frame.Tutoring == "Yes").mean()
    others = np.flatnonzero(frame.Tutoring == "No")
    chosen = rng.choice(others, int(round(share*len(frame))), replace=False)
    tutoring = frame.Tutoring.copy()
    tutoring.iloc[chosen] = "Yes"
    return frame.assign(Tutoring=tutoring)


def lose_cells(frame, rng):
    "One answer in five on the parents' support is missing"
    return frame.assign(ParentalSupport=frame.ParentalSupport.mask(rng.random(len(frame)) < 0.2))


def hours_as_minutes(frame, rng):
    "Study time is entered in minutes"
    return frame.assign(StudyTimeWeekly=60*frame.StudyTimeWeekly)


LABELS = "70 % have grade F, 51 % before"

CHANGES = {  # Name -> the change, and the column that has to be flagged
    "absences + 30 %": (more_absences, "Absences"),
    "tutoring doubled": (double_category, "Tutoring"),
    "20 % of one column missing": (lose_cells, "ParentalSupport"),
    LABELS: (None, "GradeClass"),
    "hours entered as minutes": (hours_as_minutes, "StudyTimeWeekly"),
}


def wilson(hits, of, z=1.96):
    "95 % interval of a share (Wilson 1927)"
    if not of: return 0.0, 1.0
    share = hits/of
    middle, half = share + z*z/(2*of), z*np.sqrt(share*(1 - share)/of + z*z/(4*of*of))
    return max(0.0, (middle - half)/(1 + z*z/of)), min(1.0, (middle + half)/(1 + z*z/of))


def pick(frame, size, rng):
    "Draw students without replacement"
    return frame.iloc[rng.choice(len(frame), size, replace=False)]


def shift_labels(frame, size, rng):
    "A month in which 70 % have the grade F; students with a grade are as before (label shift)"
    failed = frame.GradeClass == "F"
    worst = round(0.7*size)
    return pd.concat([pick(frame[failed], worst, rng), pick(frame[~failed], size - worst, rng)])


def months(frame, size, rng):
    "Ten months of students drawn from `frame`: name -> table"
    made = {f"unchanged {i + 1}": pick(frame, size, rng) for i in range(5)}
    made |= {name: change(pick(frame, size, rng), rng) for name, (change, _) in CHANGES.items() if change}
    return made | {LABELS: shift_labels(frame, size, rng)}


def one_seed(frame, schema, seed, size):
    "Which columns are flagged in each of the ten months, against a table and against a bundle's profile"
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(frame))
    learnt, rest = frame.iloc[order[:len(frame)//2]], frame.iloc[order[len(frame)//2:]]
    table = take_profile(learnt, schema)
    references = {"a table": table, "the profile of a bundle": Profile.from_dict(table.as_dict())}
    profiles = {name: take_profile(month, schema) for name, month in months(rest, size, rng).items()}
    flagged = lambda table: table.name[table.flagged].tolist()
    return {kind: {name: flagged(compare_profiles(reference, month, schema, Limits())) for name, month in profiles.items()}
            for kind, reference in references.items()}


def tally(runs):
    "Changes found, unchanged months flagged, and changed months in which another column is flagged (a label shift moves others in truth)"
    found = {name: sum(column in run[name] for run in runs) for name, (_, column) in CHANGES.items()}
    alarms = sum(bool(run[f"unchanged {i + 1}"]) for run in runs for i in range(5))
    beside = sum(bool(set(run[name]) - {column}) for run in runs
                 for name, (change, column) in CHANGES.items() if change)
    return found, alarms, beside


def row(name, hits, of, passed):
    "A line of the table"
    low, high = wilson(hits, of)
    return {"month": name, "flagged": f"{hits} of {of}", "rate": f"{100*hits/of:.1f} %",
            "95 % interval": f"{100*low:.1f} to {100*high:.1f} %", "": passed}


def report(runs):
    "Rows of the table, and whether the bar is reached"
    found, alarms, beside = tally(runs)
    n, word = len(runs), lambda passed: "PASS" if passed else "FAIL"
    rows = [row(name, hits, n, word(hits >= SHARE_FOUND*n)) for name, hits in found.items()]
    rows.append(row("unchanged: any column flagged", alarms, 5*n, word(alarms < FALSE_ALARMS*5*n)))
    rows.append(row("changed: another column flagged", beside, 4*n, word(beside < FALSE_ALARMS*4*n)))
    return rows, all(line[""] == "PASS" for line in rows)


def main(words=None):
    "Simulate, print, judge"
    parser = argparse.ArgumentParser(description="How often drift is found, and how often a false alarm is given.")
    parser.add_argument("--data", help="folder of students_performance.csv")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--first", type=int, default=0,
                        help="the first seed: limits that were chosen on some seeds are judged on others")
    parser.add_argument("--size", type=int, default=500, help="students in a month")
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args(words)
    try: find_table("students", data_folder(given.data))
    except GradeclassError as error: sys.exit(f"drift: {error}")
    schema, frame = read_students("students", data_folder(given.data))
    started = time.perf_counter()
    passed = True
    kept = {}
    runs = [one_seed(frame, schema, seed, given.size) for seed in range(given.first, given.first + given.seeds)]
    for kind in runs[0]:
        rows, good = report([run[kind] for run in runs])
        print(f"## Reference: {kind}, {len(frame)//2:,} students; months of {given.size}, {given.seeds} "
              f"seeds\n\n{markdown(rows)}\n")
        passed, kept[kind] = passed and good, rows
    seconds = time.perf_counter() - started
    print(f"{'PASS' if passed else 'FAIL'}: every change found, false alarms below {100*FALSE_ALARMS:.0f} % a month "
          f"({seconds:.0f} s)")
    if given.json:
        given.json.write_text(json.dumps({"passed": passed, "seconds": seconds, "tables": kept}, indent=1),
                              encoding="utf-8")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
