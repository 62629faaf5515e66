"A OneRoster export, packed or not, is one table with a row for each student in each class"
import zipfile

import pytest

from gradeclass.data.layout import DataError
from gradeclass.data.sources import read_table
from gradeclass.drafting.infer import infer_schema
from gradeclass.drafting.questions import find_grade_columns

STUDENTS = [f"u{number:02}" for number in range(40)]


def lines(header, rows):
    return header + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)


def export(letters=True):
    "Two classes of forty students: two line items, a final grade, a teacher, and a student who has left"
    both = [(one, room) for room in ("m", "e") for one in STUDENTS]
    results, item = [], {"quiz": 20, "essay": 50}
    for row, (one, room) in enumerate(both):
        for name, most in item.items():
            status = {("quiz", 0): "exempt", ("essay", 1): "not submitted"}.get((name, row % 9), "fully graded")
            score = row*7 % most if status == "fully graded" else ""
            results.append((len(results), "active", f"{name}-{room}", one, status, score, "2026-06-01", ""))
        grade = "ABCD"[(5*row + row//4) % 4]
        said = ("", "2026-07-01", grade) if letters else ("4321"["ABCD".index(grade)], "2026-07-01", "")
        results.append((len(results), "active", f"final-{room}", one, "fully graded", *said))
    results += [("x", "tobedeleted", "quiz-m", "u00", "fully graded", 20, "2026-07-01", ""),
                ("y", "active", "quiz-m", "t1", "fully graded", 9, "2026-07-01", ""),
                ("z", "active", "quiz-m", "u01", "fully graded", 20, "2026-06-30", "")]
    items = [(f"{name}-{room}", title, room, 0, most) for room in "me" for name, title, most in
             (("quiz", "Quiz 1", 20), ("essay", "Essay", 50), ("final", "Final Grade", "" if letters else 4))]
    people = [*((one, "active", f"Given{one}", f"Family{one}", f"{one}@school.org", "student", f"0{8 + place % 2}") for place, one in enumerate(STUDENTS)),
              ("t1", "active", "Tea", "Cher", "t1@school.org", "teacher", "")]
    return {"manifest.csv": "propertyName,value\noneroster.version,1.2\n",
            "users.csv": lines("sourcedId,status,givenName,familyName,email,role,grades", people),
            "classes.csv": lines("sourcedId,title", [("m", "Maths"), ("e", "English")]),
            "enrollments.csv": lines("sourcedId,classSourcedId,userSourcedId,role",
                                     [*((row, room, one, "student") for row, (one, room) in enumerate(both)), ("t", "m", "t1", "teacher")]),
            "demographics.csv": lines("sourcedId,birthDate,sex,asian,white,cityOfBirth",
                                      [(one, f"2010-0{1 + place % 9}-01", ("female", "male")[place % 2], ("true", "false", "false")[place % 3],
                                        ("false", "true")[place % 2], ("Ulm", "Bonn")[place//2 % 2]) for place, one in enumerate(STUDENTS)]),
            "lineItems.csv": lines("sourcedId,title,classSourcedId,resultValueMin,resultValueMax", items),
            "results.csv": lines("sourcedId,status,lineItemSourcedId,studentSourcedId,scoreStatus,score,scoreDate,textScore", results)}


def save(files, place, packed):
    folder = place/"export"
    folder.mkdir()
    for name, text in files.items(): (folder/name).write_text(text)
    if not packed: return folder
    with zipfile.ZipFile(place/"export.zip", "w") as archive:
        for file in folder.iterdir(): archive.write(file, f"roster/{file.name}")
    return place/"export.zip"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("letters", [False, True])
def test_an_export_is_one_row_for_each_student_in_each_class(tmp_path, packed, letters):
    table, notes = read_table(save(export(letters), tmp_path, packed))
    assert len(table) == 80 and not table.duplicated(["sourcedId", "Class"]).any()
    first = table[(table.sourcedId == "u01") & (table.Class == "Maths")].iloc[0]
    assert (first["Quiz 1 (%)"], first["Essay (%)"], first["Final Grade"]) == ("100", "not submitted", "B" if letters else "3")
    assert table.set_index(["sourcedId", "Class"]).loc[("u00", "Maths"), "Quiz 1 (%)"] == "exempt"
    text = table.to_csv() + "".join(notes)
    assert not any(word in text for word in ("Given", "Family", "@school.org", "2,t1"))
    said = " ".join(notes)
    assert "40 students in 2 classes, 3 line items" in said and "Final Grade may be the grade" in said and "such as t1" in said
    assert "1 result replaced by a later one" in said


def test_an_export_is_drafted_with_roles(tmp_path):
    table, _ = read_table(save(export(), tmp_path, False))
    assert find_grade_columns(table) == ["Final Grade"]
    schema = infer_schema(table, "Final Grade")
    assert schema.id == "sourcedId" and schema.grades.labels == list("ABCD")
    demographics = {name: column for name, column in schema.by_name.items() if name.startswith("demographics")}
    assert len(demographics) == 5 and {column.role for column in demographics.values()} <= {"audit", "ignored"}
    audited = [name.removeprefix("demographics ") for name, column in demographics.items() if column.role == "audit"]
    assert audited == ["sex", "asian", "white", "cityOfBirth"]
    for name, word in {"Quiz 1 (%)": "exempt", "Essay (%)": "not submitted"}.items():
        column = schema.by_name[name]
        assert (column.kind, column.role) == ("numeric", "feature") and word in column.confirm


@pytest.mark.parametrize(("change", "said"), [
    (lambda files: files.pop("lineItems.csv"), "without lineItems.csv"), (lambda files: files.pop("enrollments.csv"), "without enrollments.csv"),
    (lambda files: files.update({"results.csv": files["results.csv"].replace("studentSourcedId", "student")}), "results.csv has no column studentSourcedId"),
    (lambda files: files.update({"results.csv": files["results.csv"].replace("score,", "mark,").replace("textScore", "text")}), "has no column score"),
    (lambda files: files.update({"lineItems.csv": "sourcedId,title,classSourcedId\n"}), "lineItems.csv has no rows")])
def test_what_an_export_lacks_is_named(tmp_path, change, said):
    files = export()
    change(files)
    with pytest.raises(DataError, match=said): read_table(save(files, tmp_path, True))
