"What the stages say about single students"
from gradeclass.data.sources import load
from gradeclass.data.split import split
from gradeclass.data.synthetic import sample_path
from gradeclass.models.grade_model import GradeModel
from gradeclass.pipeline import steps


def test_student_who_is_explained_stands_first_on_the_list(monkeypatch, tmp_path):
    dataset = load(sample_path("students"), "students")
    parts = split(dataset.frame, dataset.schema)
    model = GradeModel(dataset.schema).fit(parts.train)
    explained = []
    monkeypatch.setattr(steps, "explain_student", lambda model, first, typical: explained.append(first))
    monkeypatch.setattr(steps, "in_words", lambda found, schema: [])
    monkeypatch.setattr(steps, "plot_contributions", lambda found, schema: None)
    monkeypatch.setattr(steps, "load_typical", lambda bundle: None)
    steps.explain_first(model, parts.test, tmp_path)
    listed = steps.list_students(model, parts.test, 1)
    assert explained[0]["StudentID"].tolist() == listed.iloc[:, 0].tolist()
