"A table in several files, for the tests of training at size"
import numpy as np
import pandas as pd
import pytest

from gradeclass.data.dataset import make_dataset
from gradeclass.data.synthetic import synthesise_folder
from gradeclass.data.validation import validate
from gradeclass.schema import load_schema
from gradeclass.scoring.folders import list_pieces
from gradeclass.training import large
from gradeclass.training.survey import Want

@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    "30,000 students in six files; some cells are blank, some impossible"
    folder = synthesise_folder("students", 30_000, tmp_path_factory.mktemp("large")/"students", size=5_000)
    for number, path in enumerate(sorted(folder.iterdir())):
        frame, rng = pd.read_parquet(path), np.random.default_rng(number)
        for name in ("Absences", "Tutoring", "GPA"): frame.loc[rng.random(len(frame)) < 0.05, name] = None
        frame.loc[frame.index[3], "Absences"] = 99
        frame.to_parquet(path, index=False)
    return folder


@pytest.fixture(scope="session")
def frame(folder):
    "The rows that can be used, in one clean table"
    table = pd.concat([pd.read_parquet(path) for path in sorted(folder.iterdir())], ignore_index=True)
    return validate(make_dataset(table, "students")).accepted


@pytest.fixture(scope="session")
def want():
    return Want(load_schema("students"))


@pytest.fixture(scope="session")
def survey(folder, want):
    return large.take_survey(want, list_pieces(str(folder)), None, lambda done, pieces: None)
