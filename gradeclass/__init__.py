"""Predict a student's grade class early enough to help. These names are the API that we promise to keep."""
from importlib import import_module

__version__ = "0.1.0"

# Name -> module that defines it; a module is imported when one of its names is first asked for.
_PLACES = {
    "GradeclassError": "config",
    "Schema": "schema", "load_schema": "schema",
    "clean": "data.dataset", "load": "data.sources", "infer_schema": "drafting.infer", "validate": "data.validation",
    "split": "data.split", "sample_path": "data.synthetic", "synthesise": "data.synthetic",
    "GradeModel": "models.grade_model", "load_model": "models.bundle", "save_model": "models.bundle",
    "open_bundle": "scoring.answer", "predict_table": "scoring.table", "score": "scoring.score",
    "promote": "registry.versions", "rollback": "registry.versions",
    "run_pipeline": "pipeline.runner", "Client": "service.client",
}
__all__ = ["__version__", *_PLACES]


def __getattr__(name):
    "Import a public name when it is first asked for"
    if name not in _PLACES:
        raise AttributeError(f"module 'gradeclass' has no attribute {name!r}")
    found = getattr(import_module(f"gradeclass.{_PLACES[name]}"), name)
    globals()[name] = found
    return found


def __dir__():
    return sorted({*globals(), *_PLACES})
