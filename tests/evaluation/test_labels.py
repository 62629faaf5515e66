"Label audit: wrong grades are found, right ones are left alone, and a crowd of wrong ones is seen as a crowd"
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradeclass.config import GradeclassError
from gradeclass.evaluation.labels import (
    audit_cluster, audit_labels, cluster_sentence, densest_stretch, describe_audit, estimate_noise,
    find_cluster, noise_by_model, plot_audit, score_bands,
)
from gradeclass.data.synthetic import synthesise
from gradeclass.schema import load_schema

SCHEMA = load_schema("students")
LABELS = np.array(SCHEMA.grades.labels)


@pytest.fixture(scope="module")
def students():
    return synthesise(SCHEMA, 600, 3)


def opinions(frame, floor=0.07, sharpness=4.0, seed=0):
    "Probabilities of a model that knows the score but for a blur, and that some grades are drawn"
    blurred = frame.GPA.to_numpy() + np.random.default_rng(seed).normal(0, 0.15, len(frame))
    middle = np.array([3.75, 3.25, 2.75, 2.25, 1.25])
    p = np.exp(-sharpness*np.abs(blurred[:, None] - middle))
    p[:, 4] = np.where(blurred < 1.9, 10, p[:, 4])
    return (1 - floor)*p/p.sum(axis=1, keepdims=True) + floor/5


def test_scores_at_a_cut_earn_the_better_grade(students):
    row = students.head(4).assign(GPA=[3.5, 3.4999, 2.0, 1.9999])
    assert score_bands(row, SCHEMA).tolist() == [0, 1, 3, 4]


def test_contradictions_are_those_that_validation_finds(students):
    from gradeclass.data.validation import contradictions
    audit = audit_labels(students, SCHEMA, opinions(students))
    assert sorted(audit.index[audit.suspicious]) == sorted(contradictions(students, SCHEMA).index)


def test_clean_grades_raise_no_suspicion(students):
    right = students.assign(GradeClass=pd.Categorical(LABELS[score_bands(students, SCHEMA)], LABELS, ordered=True))
    audit = audit_labels(right, SCHEMA, opinions(right, floor=0.0))
    assert not audit.suspicious.any()
    assert describe_audit(audit,
                          estimate_noise(right, SCHEMA, opinions(right))) == "No recorded grade is hard to believe."


def test_planted_wrong_grades_come_first_without_a_score(students):
    band = score_bands(students, SCHEMA)
    wrong = np.random.default_rng(4).choice(np.flatnonzero(band == 4), 15, replace=False)
    recorded = band.copy()
    recorded[wrong] = 0
    frame = students.assign(GradeClass=pd.Categorical(LABELS[recorded], LABELS, ordered=True))
    audit = audit_labels(frame.drop(columns="GPA"), SCHEMA, opinions(frame, floor=0.02))
    assert set(audit.index[:15]) == set(frame.index[wrong])
    assert audit.suspicious.head(15).all()


@pytest.mark.parametrize("share", [0.0, 0.05, 0.15, 0.3])
def test_share_of_wrong_grades_is_recovered(share):
    rng = np.random.default_rng(1)
    p = np.eye(5)[rng.integers(0, 5, 3000)]*0.9 + 0.02
    noisy = np.where(rng.random(3000) < share, rng.integers(0, 5, 3000), p.argmax(axis=1))
    found = noise_by_model(p, noisy)
    assert found.low - 0.01 <= share*0.8 <= found.high + 0.01


def test_missing_scores_are_judged_by_the_model(students):
    half = students.copy()
    half.loc[half.index[:500], "GPA"] = np.nan
    audit = audit_labels(half, SCHEMA, opinions(students))
    assert (audit[audit.GPA.isna()].band == "").all()
    assert estimate_noise(half, SCHEMA, opinions(students)).basis == "model"


def test_audit_keeps_every_row_and_its_number(students):
    audit = audit_labels(students, SCHEMA, opinions(students))
    assert sorted(audit.index) == sorted(students.index)
    assert audit.StudentID.loc[students.index].tolist() == students.StudentID.tolist()
    assert audit.doubt.is_monotonic_decreasing and audit.doubt.between(0, 1).all()


def test_schema_without_scores_or_ids_can_be_audited():
    schema = load_schema("higher_ed")
    frame = synthesise(schema, 150, 0)
    p = np.full((150, 8), 1/8)
    audit = audit_labels(frame.drop(columns=schema.id), schema, p)
    assert list(audit) == ["recorded", "model_grade", "p_recorded", "doubt", "suspicious"]


def test_wrong_probabilities_are_refused(students):
    from gradeclass.evaluation.metrics import MetricError
    with pytest.raises(MetricError, match="adds up to"): audit_labels(students, SCHEMA, opinions(students)/2)


@given(st.lists(st.booleans(), min_size=1, max_size=40))
@settings(max_examples=100)
def test_densest_stretch_beats_every_other_stretch(flags):
    flags = np.array(flags)
    found, start, stop = densest_stretch(flags)
    excess = np.concatenate([[0], np.cumsum(flags - flags.mean())])
    assert found == pytest.approx(max(excess[j] - excess[i] for i in range(len(excess)) for j in range(i, len(excess))))
    assert excess[stop] - excess[start] == pytest.approx(found)


@pytest.mark.parametrize("start", [0, 350, 900])
def test_planted_crowd_is_found_where_it_is(start):
    rng = np.random.default_rng(start)
    rows = np.union1d(start + rng.choice(100, 60, replace=False), rng.choice(1000, 10, replace=False))
    cluster = find_cluster(rows, 1000)
    assert cluster.p_value <= 0.01
    assert abs(cluster.start - start) <= 10 and abs(cluster.stop - start - 100) <= 10


def test_scattered_rows_are_rarely_a_crowd():
    p_values = [find_cluster(np.random.default_rng(seed).choice(500, 40, replace=False), 500, orders=99).p_value
                for seed in range(60)]
    assert np.mean(np.array(p_values) <= 0.05) <= 0.15


@pytest.mark.parametrize("rows", [[], [1, 2, 3], range(50)])
def test_too_few_or_all_rows_are_no_crowd(rows):
    assert find_cluster(np.array(rows, int), 50) is None


def test_positions_outside_the_file_are_refused():
    with pytest.raises(GradeclassError, match="from 0 to 9"): find_cluster([1, 2, 10], 10)


def test_order_of_the_audit_does_not_hide_a_crowd(students):
    frame = students.sort_values("GPA")
    assert audit_cluster(audit_labels(frame, SCHEMA, opinions(frame))) == audit_cluster(audit_labels(
        frame, SCHEMA, opinions(frame)).sort_index())


def test_sentence_names_rows_as_people_see_them():
    cluster = find_cluster(np.arange(40, 60), 400)
    assert "All 20 suspicious grades lie in rows 42 to 61" in cluster_sentence(cluster, pd.RangeIndex(2, 402))


def test_figure_marks_the_crowd(students):
    wrong = students.GradeClass.astype(str).to_numpy() != LABELS[score_bands(students, SCHEMA)]
    crowded = pd.concat([students[~wrong], students[wrong]]).set_axis(students.index)
    legends = [[text.get_text()
                for text in plot_audit(audit_labels(frame, SCHEMA, opinions(frame))).legends[0].get_texts()]
               for frame in (students, crowded)]
    assert "Where they crowd" in legends[1] and "Where they crowd" not in legends[0]


def test_published_students_crowd_in_the_last_rows(real_data):
    from gradeclass.data.dataset import clean
    from gradeclass.data.sources import load
    from gradeclass.models.folds import out_of_fold
    from gradeclass.models.grade_model import GradeModel
    dataset = load(real_data("students_performance.csv"), "students")
    frame = clean(dataset.frame, dataset.schema)
    said = out_of_fold(GradeModel(dataset.schema, "ordinal", params={"members": ["linear"]}), frame, 3)
    cluster = audit_cluster(audit_labels(frame, dataset.schema, said))
    assert (cluster.inside, cluster.total, frame.index[cluster.start], frame.index[cluster.stop - 1]) == (
        168, 168, 2178, 2393)
    blind = frame.drop(columns="GPA")
    assert estimate_noise(blind, dataset.schema, said).share == pytest.approx(0.07, abs=0.02)
    blind_cluster = audit_cluster(audit_labels(blind, dataset.schema, said))
    assert blind_cluster.inside/blind_cluster.total > 0.9 and blind.index[blind_cluster.start] > 2150
