"""The versions of models, which of them serves, and the gate in between."""


def _load_pyfunc(path):
    "What MLflow calls to load a model: every logged model names this module, so the function has to stay here"
    from gradeclass.models.bundle import load_model
    from gradeclass.scoring.table import TablePredictor
    return TablePredictor(load_model(path))
