"""Predict a student's grade class early enough to help. These names are the API that we promise to keep."""
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # What a type checker and an editor see of the names below
    from .config import GradeclassError as GradeclassError
    from .data.dataset import clean as clean
    from .data.sources import load as load
    from .data.split import split as split
    from .data.synthetic import sample_path as sample_path, synthesise as synthesise
    from .data.validation import validate as validate
    from .drafting.infer import infer_schema as infer_schema
    from .models.bundle import load_model as load_model, save_model as save_model
    from .models.grade_model import GradeModel as GradeModel
    from .pipeline.runner import run_pipeline as run_pipeline
    from .registry.versions import promote as promote, rollback as rollback
    from .schema import Schema as Schema, load_schema as load_schema
    from .scoring.answer import open_bundle as open_bundle
    from .scoring.score import score as score
    from .scoring.table import predict_table as predict_table
    from .service.client import Client as Client

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


if not TYPE_CHECKING:  # Else every name would be one to a type checker
    def __getattr__(name):
        "Import a public name when it is first asked for"
        if name not in _PLACES:
            raise AttributeError(f"module 'gradeclass' has no attribute {name!r}")
        found = getattr(import_module(f"gradeclass.{_PLACES[name]}"), name)
        globals()[name] = found
        return found


def __dir__():
    return sorted({*globals(), *_PLACES})
