"The prediction log of a service, read as a table of students"
import numpy as np
import pandas as pd
import pytest
from drift_helpers import NOW, SCHEMA, verdict, write_log
from sqlalchemy import create_engine

from gradeclass.drift.check import check_drift
from gradeclass.drift.log import read_prediction_log
from gradeclass.drift.profile import DriftError
from gradeclass.models.bundle import load_model


def test_a_log_is_read_with_the_outcomes_that_have_arrived(bundle, tmp_path):
    outcomes = pd.DataFrame({"id": [1, 2, 3, 4], "time": ["2026-06-01", "2026-06-02", "2026-06-03", "2026-06-04"],
                             "prediction_id": [1, 1, np.nan, np.nan],
                             "student": [None, None, "s7", "nobody"], "grade": ["F", "C", "A", "B"],
                             "score": [1.0, 2.6, 3.9, None]})
    url = write_log(tmp_path/"p.db", bundle, NOW, outcomes)
    frame, probability, announced = read_prediction_log(url, SCHEMA)
    assert frame.GradeClass.dropna().to_dict() == {0: "C", 7: "A"} and frame.GPA.dropna().to_dict() == {0: 2.6, 7: 3.9}
    np.testing.assert_allclose(probability, load_model(bundle).predict_proba(NOW), atol=1e-12)
    assert (announced == probability.argmax(axis=1)).all()
    assert not verdict(NOW.drop(columns=["GPA", "GradeClass"]), frame).table.effect.max()


def test_the_last_prediction_of_a_student_counts(bundle, tmp_path):
    url = write_log(tmp_path/"p.db", bundle, NOW.head(60))
    engine = create_engine(url)
    again = pd.read_sql_table("predictions", engine).head(5).assign(
        id=range(100, 105), time="2026-04-01T00:00:00+00:00", outputs=lambda t: t.outputs.iloc[0])
    nameless = again.assign(id=range(200, 205), student=None)
    pd.concat([again, nameless]).to_sql("predictions", engine, index=False, if_exists="append")
    engine.dispose()
    assert len(read_prediction_log(url, SCHEMA)[0]) == 65
    assert len(read_prediction_log(url, SCHEMA, since="2026-04-01")[0]) == 10


def test_a_database_that_is_no_log_gets_one_sentence(bundle, tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/p.db")
    pd.DataFrame({"a": [1]}).to_sql("pupils", engine, index=False)
    with pytest.raises(DriftError, match="has no table predictions: it is not a prediction log"):
        read_prediction_log(f"sqlite:///{tmp_path}/p.db", SCHEMA)
    pd.DataFrame({"id": [1], "time": ["2026"]}).to_sql("predictions", engine, index=False)
    engine.dispose()
    with pytest.raises(DriftError, match="lacks the column digest"):
        read_prediction_log(f"sqlite:///{tmp_path}/p.db", SCHEMA)
    url = write_log(tmp_path/"q.db", bundle, NOW.head(9), digest="f"*64)
    with pytest.raises(DriftError, match="holds no prediction of this model"): check_drift(url, model=bundle)
    with pytest.raises(DriftError, match="is not a time such as"): read_prediction_log(url, SCHEMA, since="yesterday")


@pytest.mark.parametrize("column, text, words",
                         [("inputs", "{", "where JSON is needed"),
                          ("outputs", '{"grade": "Q"}', "are not of the grades A, B, C, D, F")])
def test_a_damaged_log_gets_one_sentence(bundle, tmp_path, column, text, words):
    url = write_log(tmp_path/"p.db", bundle, NOW.head(9))
    engine = create_engine(url)
    pd.read_sql_table("predictions", engine).assign(**{column: text}).to_sql(
        "predictions", engine, index=False, if_exists="replace")
    engine.dispose()
    with pytest.raises(DriftError, match=words): read_prediction_log(url, SCHEMA)
