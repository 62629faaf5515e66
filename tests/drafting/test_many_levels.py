"Schools, courses and lecturers are inputs; ids and free texts are not; a new school is graded without knowing which"
import numpy as np
import pandas as pd

from gradeclass.data.dataset import make_dataset
from gradeclass.data.validation import validate
from gradeclass.drafting.infer import infer_schema
from gradeclass.models.grade_model import GradeModel
from gradeclass.scoring.answer import Predictor


def many_schools(rows=1500, schools=75):
    rng = np.random.default_rng(0)
    school, hours = rng.integers(0, schools, rows), rng.integers(0, 30, rows)
    latent = rng.normal(0, 1, schools)[school] + hours/10 + rng.normal(0, 0.7, rows)
    return pd.DataFrame({"School": [f"s{number}" for number in school], "Hours": hours,
                         "Note": [f"text {number % 400}" for number in range(rows)],
                         "Grade": np.array(list("CBA"))[np.digitize(latent, np.quantile(latent, [0.3, 0.7]))]})


def test_schools_are_inputs_and_texts_are_not():
    schema = infer_schema(many_schools().astype(str), "Grade")
    assert (schema.by_name["School"].kind, schema.by_name["School"].role) == ("category", "feature")
    assert schema.by_name["Note"].role == "ignored" and schema.by_name["School"].open


def test_a_new_school_counts_as_unknown_with_a_note_and_not_as_a_mistake():
    table = many_schools().astype(str)
    schema = infer_schema(table, "Grade")
    model = GradeModel(schema, params={"members": ["linear"]}).fit(make_dataset(table, schema).frame)
    new = table.head(3).assign(School=["s1", "unheard of", ""])
    checked = validate(make_dataset(new.drop(columns="Grade"), schema), "predict")
    assert len(checked.accepted) == 3 and checked.refused.empty
    assert any("unheard of was not there in training" in found.message for found in checked.findings)
    said = Predictor(model).frame(checked.accepted.assign(Hours=10.0)).probability
    assert np.allclose(said[1], said[2]) and not np.allclose(said[0], said[1])
    assert len(validate(make_dataset(new, schema), "train").refused) == 1
