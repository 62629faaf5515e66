"The conditions that a challenger has to meet, one by one"
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gradeclass.data.sources import load
from gradeclass.data.synthetic import sample_path
from gradeclass.models.bundle import load_model
from gradeclass.registry.rails import Rules, calibration_rail, group_rail, judge_by, metric_rail, row_hashes


@pytest.fixture(scope="module")
def said(bundles, parts):
    "What a good model says of the test part"
    model = load_model(bundles["good"])
    return model.schema, judge_by(model, parts.test)


def test_row_hashes_survive_parquet_and_other_ids(parts, tmp_path):
    schema = load(sample_path("students"), "students").schema
    parts.test.to_parquet(tmp_path/"test.parquet")
    read = pd.read_parquet(tmp_path/"test.parquet")
    assert (row_hashes(read, schema) == row_hashes(parts.test, schema)).all()
    other = read.assign(**{schema.id: range(len(read))}) if schema.id in read else read
    assert (row_hashes(other.sample(frac=1, random_state=1).sort_index(), schema)
            == row_hashes(parts.test.sort_index(), schema)).all()
    changed = read.assign(Absences=read.Absences + 1)
    assert not np.isin(row_hashes(changed, schema), row_hashes(read, schema)).any()


def test_probabilities_that_are_too_bold_fail_though_the_grades_are_the_same(said):
    schema, fair = said
    bold = replace(fair, p=np.where(np.eye(fair.p.shape[1])[fair.predicted] > 0, 0.99, 0.0025))
    assert metric_rail(fair, bold, Rules("macro_f1", "not_worse")).passed
    assert not calibration_rail(fair, bold, Rules()).passed and not calibration_rail(
        None, bold, Rules()).passed
    assert calibration_rail(fair, fair, Rules()).passed


def test_group_that_is_left_out_of_the_list_stops_a_promotion(said, parts):
    schema, fair = said
    girls = (parts.test.Gender.astype(str) == "Female").to_numpy()
    blind = replace(fair, p=np.where(girls[:, None], np.eye(fair.p.shape[1])[0], fair.p))
    rail = group_rail(fair, blind, parts.test, schema, Rules())
    assert (not rail.passed and rail.figures["group"] == "Gender: Female" and rail.figures["b"] == 0
            and rail.figures["high"] < 0)
    assert group_rail(fair, fair, parts.test, schema, Rules()).passed


def test_champion_that_gives_everyone_the_worst_grade_does_not_block_a_better_one(said, parts):
    schema, fair = said
    worst = np.tile(np.eye(fair.p.shape[1])[-1], (len(fair.y), 1))
    champion = replace(fair, p=worst, predicted=worst.argmax(axis=1))
    assert group_rail(champion, fair, parts.test, schema, Rules()).passed
