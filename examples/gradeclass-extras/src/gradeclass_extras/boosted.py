"Gradient-boosted trees by CatBoost"
import numpy as np

from gradeclass.config import SEED
from gradeclass.models.family import GradeFamily, spare_threads
from gradeclass.plugins import PluginError

from .bayes import slope

try: from catboost import CatBoostClassifier, Pool
except ImportError: raise PluginError("it needs CatBoost: pip install 'gradeclass-extras[catboost]'") from None


class CatBoostGrades(GradeFamily):
    "Trees on encoded columns, one output a grade"
    one_hot = True
    work = 4_000

    def __init__(self, n_grades=None, rounds=200, depth=4, learning_rate=0.1, seed=SEED):
        self.n_grades, self.rounds = n_grades, rounds
        self.depth, self.learning_rate, self.seed = depth, learning_rate, seed

    def _fit(self, X, y, weight, score):
        self.trees_ = CatBoostClassifier(
            iterations=self.rounds, depth=self.depth, learning_rate=self.learning_rate, random_seed=self.seed,
            loss_function="MultiClass", classes_count=len(self.classes_), thread_count=spare_threads(),
            allow_writing_files=False, verbose=False)
        self.trees_.fit(X, y, sample_weight=weight)

    def _probability(self, X):
        return self.trees_.predict_proba(X)

    def _write(self, folder):
        self.trees_.save_model(str(folder/"catboost.cbm"))

    def _read(self, folder):
        self.trees_ = CatBoostClassifier()
        self.trees_.load_model(str(folder/"catboost.cbm"))
        self.restore(len(self.trees_.classes_), len(self.trees_.feature_names_))


def explain_catboost(model, X):
    "SHAP values of the slope of the margins over the scale, the average in the last column, and the unit"
    found = model.pipeline_["family"].trees_.get_feature_importance(Pool(X), type="ShapValues")
    return np.einsum("nkq,k->nq", found, slope(found.shape[1])), "log-odds per grade"
