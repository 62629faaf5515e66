"The conditions that a challenger has to meet, one by one"
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gradeclass.data.sources import load
from gradeclass.data.synthetic import sample_path
from gradeclass.models.bundle import load_model
from gradeclass.models.calibrator import Calibrator
from gradeclass.models.grade_model import GradeModel
from gradeclass.registry.rails import (
    Rules, calibration_rail, deal_unseen, group_rail, judge_by, metric_rail, more_rows, new_to, row_hashes,
    speaks_against, student_hashes,
)


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


def line(schema, rows):
    "A model that is fitted in a moment"
    return GradeModel(schema, params={"members": ["linear"]}).fit(rows)


@pytest.fixture(scope="module")
def pair(parts):
    "A champion of few rows, a challenger of all, and the hashes of what the champion knows"
    schema, few = load(sample_path("students"), "students").schema, parts.train.head(80)
    return line(schema, few), line(schema, parts.train), row_hashes(few, schema)


def test_only_rows_that_are_new_to_the_champion_judge(pair, parts):
    old, new, learnt = pair
    schema, rows = new.schema, parts.train
    more = more_rows(new, old, rows, learnt, parts.test, Rules())
    assert len(more.new.y) == len(rows) - 80 and (more.old.p == old.predict_proba(rows.iloc[80:])).all()
    other_grades = rows.assign(**{schema.target: rows[schema.target].to_numpy()[::-1]})
    assert new_to(other_grades, schema, learnt).sum() == len(rows) - 80, "other grades make no new students"
    students = student_hashes(rows.head(120), schema)
    assert new_to(rows, schema, learnt, students).sum() == len(rows) - 120
    nameless = rows.assign(**{schema.id: None})
    assert new_to(nameless, schema, learnt, student_hashes(nameless, schema)).sum() == len(rows) - 80
    for unknown in (None, row_hashes(rows, schema), row_hashes(rows.iloc[29:], schema)):
        assert more_rows(new, old, rows, unknown, parts.test, Rules()) is None


def test_what_is_said_of_a_row_owes_nothing_to_its_own_grade_or_to_those_of_its_fold(pair, parts):
    "All members, whose shares are chosen, and a calibration: everything is fitted again without the rows"
    old, schema, rows = pair[0], pair[1].schema, parts.train.head(300)
    new = GradeModel(schema, params={"forest": {"trees": 10}, "boost": {"rounds": 5}}, rule="macro_f1").fit(rows)
    new.calibrator_ = Calibrator("temperature", 1.5)
    held, changed = deal_unseen(rows, schema, Rules().seed) == 0, rows.copy()
    changed.loc[held, schema.target] = changed.loc[held, schema.target].to_numpy()[::-1]
    said, other = (more_rows(new, old, one, np.zeros(1, np.uint64), parts.test, Rules()).new for one in (rows, changed))
    assert (said.y[held] != other.y[held]).any()
    assert (said.p[held] == other.p[held]).all() and (said.predicted[held] == other.predicted[held]).all()
    assert (said.p[~held] != other.p[~held]).any()


def test_grades_at_random_are_predicted_no_better_than_by_their_shares(pair, parts):
    old, schema, rows = pair[0], pair[1].schema, parts.train
    excess = []
    for seed in range(4):
        grades = rows[schema.target].to_numpy()[np.random.default_rng(seed).permutation(len(rows))]
        noise = rows.assign(**{schema.target: pd.Categorical(grades, rows[schema.target].cat.categories, ordered=True)})
        said = more_rows(line(schema, noise), old, noise, np.zeros(1, np.uint64), parts.test, Rules(seed=seed)).new
        share = np.bincount(said.y, minlength=said.p.shape[1])/len(said.y)
        loss = -np.log(said.p[np.arange(len(said.y)), said.y]).mean()
        excess.append(loss + (share[share > 0]*np.log(share[share > 0])).sum())
    assert min(excess) > 0


def test_copies_and_groups_are_not_parted_by_the_folds(pair, parts):
    schema, rows = pair[1].schema, parts.train.head(200)
    renumbered = rows.assign(**{schema.id: range(10_000, 10_200), schema.target: rows[schema.target].to_numpy()[::-1]})
    fold = deal_unseen(pd.concat([rows, renumbered]), schema, 1)
    assert (fold[:200] == fold[200:]).all() and len(set(fold)) == 5
    schools = np.arange(200) % 9
    fold = deal_unseen(rows.assign(School=schools), schema.model_copy(update={"group": "School"}), 1)
    assert all(len(set(fold[schools == school])) == 1 for school in range(9))


def test_new_rows_show_what_the_test_part_cannot(pair, parts):
    old, new, learnt = pair
    more = more_rows(new, old, parts.train, learnt, parts.test, Rules())
    before, after = judge_by(old, parts.test), judge_by(new, parts.test)
    alone, both = (metric_rail(before, after, Rules(), more=rows) for rows in (None, more))
    assert not alone.passed and both.passed and both.figures["more"] == len(parts.train) - 80
    assert f"Judged by {len(parts.test)} test students and by {len(parts.train) - 80} training rows" in both.sentence


def test_wrong_grades_do_not_speak_for_the_model_that_learnt_them(pair, parts):
    old, new, learnt = pair
    target, order = new.schema.target, np.random.default_rng(1).permutation(len(parts.train))
    wrong = parts.train.assign(**{target: parts.train[target].iloc[order].set_axis(parts.train.index)})
    noisy = line(new.schema, wrong)
    more = more_rows(noisy, old, wrong, learnt, parts.test, Rules())
    assert metric_rail(more.old, more.new, Rules()).passed
    rail = metric_rail(judge_by(old, parts.test), judge_by(noisy, parts.test), Rules(), more=more)
    assert not rail.passed and "more" not in rail.figures and "the champion is worse there" in rail.sentence
    assert speaks_against(judge_by(old, parts.test), judge_by(noisy, parts.test), Rules())


def test_a_test_part_of_another_year_judges_alone(pair, parts):
    old, new, learnt = pair
    schema = new.schema.model_copy(update={"cohort": "Year"})
    dated = line(schema, parts.train.assign(Year=2024))
    judged = [more_rows(dated, old, parts.train.assign(Year=2024), learnt, parts.test.assign(Year=year), Rules())
              for year in (2024, 2025)]
    assert judged[0] and judged[1] is None
