"What a person is shown of a table, and what is asked"
import pandas as pd
import pytest

from gradeclass.drafting.infer import infer_schema
from gradeclass.drafting.questions import inspect_table, confirm_guesses, describe_columns, find_grade_columns, list_questions
from gradeclass.data.sources import read_table
from gradeclass.schema import SchemaError, parse_schema, schema_yaml


@pytest.fixture
def marks(tmp_path):
    "A class list with a title, decimal commas, a total and grades of a given scale"
    def write(grades, target="Grade"):
        rows = [f"{1000 + 7*place};{40 + place},5;{place % 7};{grades[place % len(grades)]}" for place in range(60)]
        text = "\n".join(["Class 7B, spring;;;", "", f"Pupil no;Quiz;Absences;{target}", *rows, "Average;60,0;3;"])
        (tmp_path/"marks.csv").write_text(text, encoding="utf-8")
        return str(tmp_path/"marks.csv")
    return write


def test_table_is_shown_as_understood(marks):
    checked = inspect_table(marks("ABCDF"))
    assert len(checked.table) == 60 and checked.preview["Quiz"].tolist()[:2] == [40.5, 41.5]
    assert any("row 3 is the header" in note for note in checked.notes)
    assert any("Average" in note for note in checked.notes)
    taken = describe_columns(checked.schema).set_index("column")["taken as"]
    assert taken["Grade"] == "target" and taken["Quiz"] == "numeric"


def test_certain_guesses_alone_are_accepted(marks):
    schema = inspect_table(marks("ABCDF")).schema
    asked = list_questions(schema)
    assert asked[0].column == "Grade" and asked[0].certain and not asked[0].open
    left = confirm_guesses(schema, [question.column for question in asked if question.certain])
    assert "Quiz" in left.guesses and "the grade scale" not in left.guesses
    assert parse_schema(schema_yaml(left)) == left


def test_plain_ranges_are_one_question(marks):
    table, _ = read_table(marks("ABCDF"))
    schema = infer_schema(table.assign(Quiz=table.index.astype(str) + ".5", Essay=table.index.astype(str) + ".5"), "Grade")
    asked = [question.column for question in list_questions(schema) if "range" in question.text]
    assert asked == ["Quiz and 1 more column"]
    assert {"Quiz", "Essay"} <= set(schema.guesses) and not {"Quiz", "Essay"} & set(confirm_guesses(schema, asked).guesses)


def test_direction_that_cannot_be_known_stays_open(marks):
    schema = inspect_table(marks("12345")).schema
    first = list_questions(schema)[0]
    assert first.open and not first.certain
    assert confirm_guesses(schema, ["Grade"]).grades.ask == schema.grades.ask
    answered = inspect_table(marks("12345"), best="1").schema
    assert answered.grades.labels == ["1", "2", "3", "4", "5"] and not answered.grades.ask


def test_grade_column_is_found_or_asked_for(marks):
    table, _ = read_table(marks("ABCDF", "Resit grade"))
    assert find_grade_columns(table) == ["Resit grade"]
    path = marks("ABCDF", "Band")
    with pytest.raises(SchemaError, match="name the column that holds the grades with --target"): inspect_table(path)
    assert inspect_table(path, "Band").schema.grades.labels == infer_schema(read_table(path)[0], "Band").grades.labels


def test_letters_are_shown_before_a_column_is_missed(tmp_path):
    rows = [f"{place};{place*7 % 23};{grade}" for place, grade in enumerate("12345"*6)]
    (tmp_path/"klasa.csv").write_bytes("\n".join(["Numer;Nieobecności;Zażółć", *rows]).encode("cp1250"))
    with pytest.raises(SchemaError, match=r"no column Ocena.*read as Windows-1250 \(it holds 'Nieobecności', 'Zażółć'\)"):
        inspect_table(str(tmp_path/"klasa.csv"), "Ocena")


@pytest.mark.parametrize("name, cells", [("Previous grade", "ABCDF"), ("Class", ["7A", "7B"]), ("Marital status", "12")])
def test_what_only_sounds_like_the_grade_is_passed_over(name, cells):
    table = pd.DataFrame({"Grade": list("ABCDF")*4, name: (list(cells)*20)[:20]})
    assert find_grade_columns(table) == ["Grade"]
    assert find_grade_columns(table.rename(columns={name: "Result"})) == ["Grade", "Result"]
