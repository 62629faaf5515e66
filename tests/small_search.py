"A search that takes a second, for the tests of tuning, comparing and choosing"
from gradeclass.data.synthetic import synthesise
from gradeclass.models.grade_model import GradeModel
from gradeclass.schema import load_schema
from gradeclass.training.search import tune

STUDENTS = load_schema("students")
FRAME = synthesise("students", 160, seed=3)
SMALL = {"rounds": 8, "patience": None}
MODEL = GradeModel(STUDENTS, "xgboost", params=SMALL)

def quick(model=MODEL, frame=FRAME, **more):
    "A search that takes a second"
    return tune(model, frame, **({"trials": 4, "folds": 2, "progress": False} | more))

def shuffled(frame, seed=0):
    "The same students with each other's grades"
    grades = frame.GradeClass.sample(frac=1, random_state=seed)
    return frame.assign(GradeClass=grades.to_numpy())
