"A section of the report: a function takes the stages' folders and gives Markdown"
import pandas as pd

from gradeclass.schema import parse_schema

FEW = 5  # A smaller count could point at a person


def write_grades(folders):
    "How many students have each grade, in the part that the model learns from and in the one that it is tested on"
    prepared = folders["prepare"]
    schema = parse_schema((prepared/"schema.yaml").read_text(encoding="utf-8"), "schema.yaml")
    grades = {part: pd.read_parquet(prepared/f"{part}.parquet")[schema.target].astype(str) for part in ("train", "test")}
    lines = ["## Students a grade", "", "| grade | to learn from | to test on |", "|---|---|---|"]
    for code, label in zip(schema.grades.codes, schema.grades.labels, strict=True):
        counts = [part.isin([str(code), label]).sum() for part in grades.values()]
        shown = [str(count) if count >= FEW or not count else f"fewer than {FEW}" for count in counts]
        lines.append(f"| {label} | {' | '.join(shown)} |")
    return "\n".join(lines)
