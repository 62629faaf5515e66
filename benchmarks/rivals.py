"""What others did with the same tables, written anew after the descriptions of the replaced projects.

Every rival takes a clean frame and answers with probabilities, as `GradeModel` does, so that both run on the same folds. None sees the
score column. All see the audit columns, as the replaced projects let them."""
import tempfile
import warnings

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from gradeclass.config import SEED
from gradeclass.models.features import SchemaEncoder, encode_frame, grade_index

# The replaced projects searched 216 points, or 4; their values are not known to us, these are the usual ones
PRESETS = {
    "grid216": {"rounds": (100, 200, 300), "params.learning_rate": (0.01, 0.1, 0.2), "params.max_depth": (3, 5, 7),
                "params.min_child_weight": (1, 5), "params.subsample": (0.8, 1.0),
                "params.colsample_bytree": (0.8, 1.0)},
    "grid4": {"rounds": (100, 200), "params.max_depth": (3, 6)},
}


class Rival(ClassifierMixin, BaseEstimator):
    "What rivals share: rows come as the codes of the file, gaps as -1"

    def matrix(self, frame):
        "Rows as numbers: codes count up as in the file, which is what a DictVectorizer makes of them; shape (n, p)"
        return np.nan_to_num(encode_frame(frame, self.schema.inputs(audit=True)), nan=-1.0)

    def fit(self, frame, y=None, sample_weight=None):
        "Fit on students with grades; weights are not used"
        self.n_grades_ = len(self.schema.grades.labels)
        self.classes_ = np.array(self.schema.grades.labels)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.learn(self.matrix(frame), grade_index(frame, self.schema))
        return self

    def predict_proba(self, frame):
        "Probability of each grade, shape (n, K)"
        said = np.asarray(self.say(self.matrix(frame)), float)
        return said/said.sum(axis=1, keepdims=True)


def grow(X, y, n_grades, rounds, seed=SEED, **params):
    "XGBoost's softmax trees with its own defaults, in one thread"
    import xgboost as xgb
    task = {"objective": "multi:softprob", "num_class": n_grades, "nthread": 1, "seed": seed}
    return xgb.train(task | params, xgb.DMatrix(X, y, nthread=1), rounds)


def tree_points(preset):
    "Points of a grid without the number of rounds, and the numbers of rounds"
    from sklearn.model_selection import ParameterGrid
    grid = {name.removeprefix("params."): list(values) for name, values in PRESETS[preset].items()}
    rounds = grid.pop("rounds")
    return list(ParameterGrid(grid)), sorted(rounds)


class GridSearch(Rival):
    """XGBoost, every point of a grid by 3-fold cross-validated accuracy, as GridSearchCV does it (folds in the order of the rows).

    A booster of 300 rounds holds those of 100 and 200, so that each tree is grown once: the result is that of the full grid."""

    def __init__(self, schema=None, preset="grid4", folds=3, seed=SEED):
        self.schema = schema
        self.preset = preset
        self.folds = folds
        self.seed = seed

    def learn(self, X, y):
        "Choose a point, then grow on all rows"
        points, rounds = tree_points(self.preset)
        scores = [(score, point, count) for point in points
                  for count, score in zip(rounds, self.try_point(X, y, point, rounds), strict=True)]
        self.score_, self.point_, self.rounds_ = max(scores, key=lambda found: found[0])
        self.booster_ = grow(X, y, self.n_grades_, self.rounds_, self.seed, **self.point_)

    def try_point(self, X, y, point, rounds):
        "Mean accuracy over the folds for each number of rounds"
        from sklearn.model_selection import StratifiedKFold
        hits = []
        for train, held in StratifiedKFold(self.folds).split(X, y):
            booster = grow(X[train], y[train], self.n_grades_, rounds[-1], self.seed, **point)
            said = [booster.inplace_predict(X[held], iteration_range=(0, count)) for count in rounds]
            hits.append([(p.argmax(axis=1) == y[held]).mean() for p in said])
        return np.mean(hits, axis=0)

    def say(self, X):
        "Probabilities of the chosen booster"
        return self.booster_.inplace_predict(X)


class SmoteNet(Rival):
    """A dense softmax network, with SMOTE ahead of the validation split, as the replaced project did it.

    Invented students stand between students of both parts, so the validation accuracy (`believed_`) by which it stops is too good."""

    def __init__(self, schema=None, epochs=100, patience=10, seed=SEED):
        self.schema = schema
        self.epochs = epochs
        self.patience = patience
        self.seed = seed

    def learn(self, X, y):
        "Even out, then split, then train until the validation part gets no better"
        import keras
        from sklearn.model_selection import train_test_split
        from sklearn.preprocessing import StandardScaler
        keras.utils.set_random_seed(self.seed)
        self.scaler_ = StandardScaler().fit(X)
        X, y = resample(self.scaler_.transform(X), y, self.seed)
        train, held, y_train, y_held = train_test_split(X, y, test_size=0.2, random_state=self.seed, stratify=y)
        self.net_ = dense_net(X.shape[1], self.n_grades_)
        stop = keras.callbacks.EarlyStopping("val_accuracy", patience=self.patience, restore_best_weights=True)
        past = self.net_.fit(train, y_train, validation_data=(held, y_held), epochs=self.epochs, batch_size=32,
                             verbose=0, callbacks=[stop])
        self.believed_ = max(past.history["val_accuracy"])

    def say(self, X):
        "Probabilities of the network"
        return self.net_(self.scaler_.transform(X).astype("float32"), training=False).numpy()


def resample(X, y, seed=SEED):
    "SMOTE with as many neighbours as the rarest grade allows, a lone row doubled first"
    from imblearn.over_sampling import SMOTE, RandomOverSampler
    counts = np.bincount(y)
    lone = dict.fromkeys(np.flatnonzero(counts == 1), 2)
    if lone: X, y = RandomOverSampler(sampling_strategy=lone, random_state=seed).fit_resample(X, y)
    fewest = np.bincount(y)[np.unique(y)].min()
    return SMOTE(k_neighbors=int(min(5, fewest - 1)), random_state=seed).fit_resample(X, y)


def dense_net(n_columns, n_grades):
    "Two hidden layers with dropout and a softmax"
    import keras
    layers = keras.layers
    net = keras.Sequential([keras.Input((n_columns,)), layers.Dense(64, "relu"), layers.Dropout(0.3),
                            layers.Dense(32, "relu"),
                            layers.Dropout(0.3), layers.Dense(n_grades, "softmax")])
    net.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return net


class Blend(Rival):
    "Extra trees, an ordinal logistic regression and XGBoost with equal shares: what a careful person would try on a small table"

    def __init__(self, schema=None, seed=SEED):
        self.schema, self.seed = schema, seed

    def matrix(self, frame):
        "Categories as 0/1 columns, protected columns left out; shape (n, p)"
        return np.nan_to_num(SchemaEncoder(self.schema, one_hot=True).fit_transform(frame), nan=0.0)

    def learn(self, X, y):
        "Fit all three on all rows"
        from sklearn.ensemble import ExtraTreesClassifier
        self.trees_ = ExtraTreesClassifier(300, min_samples_leaf=2, max_features=0.5, random_state=self.seed).fit(X, y)
        self.steps_ = OrdinalLogistic().fit(X, y)
        self.booster_ = grow(X, y, self.n_grades_, 100, self.seed, eta=0.05, max_depth=3, subsample=0.7,
                             colsample_bynode=0.4, reg_lambda=2)

    def say(self, X):
        "The mean of the three"
        trees, steps = np.zeros((2, len(X), self.n_grades_))
        trees[:, self.trees_.classes_] = self.trees_.predict_proba(X)
        steps[:, self.steps_.classes_] = self.steps_.predict_proba(X)
        return trees + steps + self.booster_.inplace_predict(X)


class OrdinalLogistic(ClassifierMixin, BaseEstimator):
    "Cumulative logit with one ridge penalty, fitted by L-BFGS (McCullagh, 1980)"

    def __init__(self, penalty=10.0):
        self.penalty = penalty

    def fit(self, X, y):
        "Weights and rising cuts of the highest penalised likelihood"
        from scipy.optimize import minimize
        from scipy.special import logit
        from sklearn.preprocessing import StandardScaler
        self.classes_, rank = np.unique(y, return_inverse=True)
        self.scaler_ = StandardScaler().fit(X)
        cuts = logit(np.cumsum(np.bincount(rank))[:-1]/len(rank))
        start = np.r_[np.zeros(X.shape[1]), cuts[0], np.log(np.diff(cuts))]
        Z = self.scaler_.transform(X)
        self.theta_ = minimize(self._loss, start, (Z, rank), jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
        return self

    def _shares(self, theta, Z):
        from scipy.special import expit
        p = Z.shape[1]
        cuts = theta[p] + np.r_[0.0, np.cumsum(np.exp(theta[p + 1:]))]
        below = expit(cuts - (Z @ theta[:p])[:, None])
        return np.diff(np.c_[np.zeros(len(Z)), below, np.ones(len(Z))], axis=1), np.c_[
            np.zeros(len(Z)), below*(1 - below), np.zeros(len(Z))]

    def _loss(self, theta, Z, rank):
        p, rows = Z.shape[1], np.arange(len(Z))
        shares, density = self._shares(theta, Z)
        given = np.maximum(shares[rows, rank], 1e-12)
        upper, lower = density[rows, rank + 1]/given, density[rows, rank]/given
        by_cut = np.bincount(rank, -upper, len(self.classes_))[:-1] + np.bincount(rank, lower, len(self.classes_))[1:]
        above = np.cumsum(by_cut[::-1])[::-1]
        slope = np.r_[Z.T @ (upper - lower) + self.penalty*theta[:p], above[0], np.exp(theta[p + 1:])*above[1:]]
        return -np.log(given).sum() + self.penalty*(theta[:p]**2).sum()/2, slope

    def predict_proba(self, X):
        "Probability of each class in rising order, shape (n, K)"
        return self._shares(self.theta_, self.scaler_.transform(X))[0]


class AutoGluon(Rival):
    "AutoGluon's tabular predictor, where it is installed; it is no dependency of ours"

    def __init__(self, schema=None, preset="medium_quality", seconds=60):
        self.schema = schema
        self.preset = preset
        self.seconds = seconds

    def _table(self, frame):
        return frame[[column.name for column in self.schema.inputs(audit=True)]].reset_index(drop=True)

    def fit(self, frame, y=None, sample_weight=None):
        "Let it choose within its time"
        from autogluon.tabular import TabularPredictor
        self.classes_, target = np.array(self.schema.grades.labels), self.schema.target
        rows = self._table(frame).assign(**{target: frame[target].astype(str).to_numpy()})
        predictor = TabularPredictor(target, problem_type="multiclass", eval_metric="log_loss",
                                     path=tempfile.mkdtemp(), verbosity=0)
        self.predictor_ = predictor.fit(rows, presets=self.preset, time_limit=self.seconds)
        return self

    def predict_proba(self, frame):
        "Probability of each grade, shape (n, K)"
        said = self.predictor_.predict_proba(self._table(frame)).reindex(
            columns=self.classes_, fill_value=0.0).to_numpy(float)
        return said/said.sum(axis=1, keepdims=True)
