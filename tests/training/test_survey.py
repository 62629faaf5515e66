"The survey of a large table: its line is the one from rows in memory, and students stay together"
import numpy as np
import pandas as pd
from held_out import held_out

from gradeclass.models.features import encode_frame, grade_index
from gradeclass.models.latent import Rows, fit_line
from gradeclass.scoring.folders import list_pieces
from gradeclass.training.survey import centre_of, line_from_sums, make_task, survey_piece


def test_line_from_sums_is_the_line_from_rows(frame, want, survey):
    train = frame[~held_out(frame, want)]
    assert len(train) == survey.rows - survey.held_rows and survey.refused == 6
    X = want.encoder.arrange(encode_frame(train, want.schema.inputs()))
    task = make_task(want, survey)
    whole = fit_line(Rows(X, grade_index(train, want.schema), np.ones(len(X)), train.GPA.to_numpy()), task)
    line = line_from_sums(survey, centre_of(want), task)
    for name in ("cuts", "noise"): assert np.allclose(getattr(line, name), getattr(whole, name), rtol=1e-9), name
    for name in ("beta", "shift", "sd"):
        assert np.allclose(getattr(line, name), getattr(whole, name), rtol=1e-2, atol=1e-3), name
    share = line.probability(line.latent(X), line.widening(X)) - whole.probability(whole.latent(X), whole.widening(X))
    assert np.abs(share).max() < 0.002


def test_rows_of_one_student_stay_together(folder, want, tmp_path):
    table = pd.read_parquet(folder/"part-00000.parquet")
    pd.concat([table, table.assign(Absences=1)]).sample(frac=1, random_state=1).to_parquet(
        tmp_path/"twice.parquet", index=False)
    found = survey_piece(want, list_pieces(str(tmp_path/"twice.parquet"))[0])
    assert len(found.held[0]) > 1_000 and not set(found.sample[0].tolist()) & set(found.held[0].tolist())
