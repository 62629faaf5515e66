"What a person is shown of a table, and what is asked"
import pandas as pd
import pytest

from gradeclass.drafting.infer import infer_schema
from gradeclass.drafting.questions import (
    answer_questions, describe_columns, find_grade_columns, inspect_table, list_questions,
)
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


def said(question, words):
    "The answer that is called so"
    return next(answer for answer in question.answers if answer.words == words)


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
    left = answer_questions(schema, [(question, question.agreed) for question in asked if question.certain])
    assert "Quiz" in left.guesses and "the grade scale" not in left.guesses
    assert parse_schema(schema_yaml(left)) == left


def test_plain_ranges_are_one_question(marks):
    table, _ = read_table(marks("ABCDF"))
    schema = infer_schema(table.assign(Quiz=table.index.astype(str) + ".5", Essay=table.index.astype(str) + ".5"), "Grade")
    asked = [question for question in list_questions(schema) if "smallest and the largest" in question.text]
    assert [question.column for question in asked] == ["Quiz and 1 more column"]
    assert {"Quiz", "Essay"} <= set(schema.guesses)
    assert not {"Quiz", "Essay"} & set(answer_questions(schema, [(asked[0], asked[0].agreed)]).guesses)
    free = answer_questions(schema, [(asked[0], said(asked[0], "Others are possible"))])
    assert free.by_name["Quiz"].max is None and not {"Quiz", "Essay"} & set(free.guesses)


def test_direction_that_cannot_be_known_stays_open(marks):
    schema = inspect_table(marks("12345")).schema
    first = list_questions(schema)[0]
    assert first.open and not first.certain
    assert answer_questions(schema, [(first, first.agreed)]).grades.ask == schema.grades.ask
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


def doubtful_table(n=120):
    "A column for each kind of question that has other answers than yes"
    grade = pd.Series(["A", "B", "C", "F"]*(n//4))
    mixed = lambda *codes: [codes[(place*7 + place//9) % len(codes)] for place in range(n)]
    return pd.DataFrame({"No": [f"S{place*3 + 1000}" for place in range(n)], "Absences": mixed(*range(11), 99),
                         "Stars": mixed(1, 2, 3, 4, 9), "Decision": grade.map({"A": "x", "B": "y", "C": "z", "F": "w"}),
                         "Gender": mixed("m", "f"), "School": mixed("North", "South", "West"),
                         "Late": [*range(n - 10), *["3/4"]*10], "Grade": grade})


@pytest.mark.parametrize("name, words, changed", [
    ("Absences", "99 means no answer", {"missing": ["99"], "max": 10, "min": 0}),
    ("Stars", "9 means no answer", {"missing": ["9"], "codes": {1: "1", 2: "2", 3: "3", 4: "4"}}),
    ("Stars", "They have no order", {"kind": "category"}),
    ("Stars", "They count something", {"kind": "numeric", "codes": {}, "min": 1, "max": 9}),
    ("Stars", "Leave the column out", {"role": "ignored", "confirm": ""}),
    ("Decision", "It is known in time", {"role": "feature", "kind": "category", "known_before": True}),
    ("Gender", "It is no protected attribute", {"role": "feature"}),
    ("Late", "These mean no answer", {"role": "feature", "kind": "numeric", "missing": ["3/4"]}),
    ("No", "It names none", {"role": "ignored"})])
def test_answer_does_what_it_says_and_the_schema_still_reads(name, words, changed):
    schema = infer_schema(doubtful_table(), "Grade")
    asked = [question for question in list_questions(schema)
             if question.column == name and words in [answer.words for answer in question.answers]]
    answered = answer_questions(schema, [(asked[0], said(asked[0], words))])
    column = answered.by_name[name]
    assert {part: getattr(column, part) for part in changed} == changed
    assert asked[0].guess not in column.confirm and parse_schema(schema_yaml(answered)) == answered


def test_answers_about_the_scale_and_the_school_go_where_they_belong():
    schema = infer_schema(doubtful_table(), "Grade")
    asked = {answer.words: (question, answer) for question in list_questions(schema) for answer in question.answers}
    school = "It says which school, class or course a student is from"
    answered = answer_questions(schema, [asked[school], asked["C calls for help too"]])
    assert answered.group == "School" and answered.grades.at_risk == ["C", "F"]


def test_blank_among_the_grades_may_be_the_lowest_grade():
    table = doubtful_table().drop(columns=["Decision", "Late"])
    table.loc[::40, "Grade"] = "-"
    schema = infer_schema(table, "Grade")
    asked = {answer.words: (question, answer) for question in list_questions(schema) for answer in question.answers}
    scale = answer_questions(schema, [asked["- is the lowest grade"]]).grades
    assert scale.labels[-1] == "-" and scale.at_risk[-1] == "-" and "a grade of its own" not in scale.confirm


def test_what_is_asked_names_no_part_of_a_file():
    for question in list_questions(infer_schema(doubtful_table(), "Grade")):
        assert "`" not in question.text and "`" not in " ".join(answer.words for answer in question.answers)


@pytest.mark.parametrize("word", ["n`a", "a; b", "x`: [", '"q`', "{`", "it if not", "`role: target` if x"])
def test_words_of_a_table_are_no_lines_of_a_schema(word):
    hours = [str(number) for number in range(40)] + [word]*20
    inputs = {"Age": [12 + number % 7 for number in range(60)], "Absences": [number % 11 for number in range(60)]}
    frame = pd.DataFrame({"Hours": hours, **inputs, f"School {word}": ["1", "2"]*30, "Grade": list("ABC")*20})
    draft = infer_schema(frame, "Grade", best="A")
    for question in list_questions(draft):
        for answer in question.answers:
            assert "target" not in answer.lines.values()
            if answer.lines.get("role") != "ignored": assert answer_questions(draft, [(question, answer)]).target == "Grade"
    if word == "it if not":
        asked = next(question for question in list_questions(draft) if question.column == "Hours")
        assert [answer.lines["missing"] for answer in asked.answers if "missing" in answer.lines] == [[word]]
