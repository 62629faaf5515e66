"Gaussian naive Bayes: each input speaks for itself, so its explanation is a plain sum"
import json

import numpy as np
from scipy.special import softmax

from gradeclass.disk import write_json
from gradeclass.models.family import GradeFamily, column_statistics


class BayesGrades(GradeFamily):
    "Gaussian naive Bayes on standardised columns; what is not known says nothing"
    one_hot = True  # Categories come as 0/1 columns
    work = 50       # Visits of a cell in a fit: with it, `-p family=auto` tries this family too

    def __init__(self, n_grades=None, least_variance=0.1):
        self.n_grades, self.least_variance = n_grades, least_variance

    def _fit(self, X, y, weight, score):
        weight = np.ones(len(X)) if weight is None else weight
        self.mean_, self.scale_ = column_statistics(X, weight)
        Z = (X - self.mean_)/self.scale_
        members = (y[:, None] == np.arange(len(self.classes_)))*weight[:, None]
        # One average student more in each grade: a grade that nobody has is rare and not impossible
        known = members.T @ np.isfinite(Z) + 1
        self.centre_ = members.T @ np.nan_to_num(Z)/known
        square = (members.T @ np.nan_to_num(Z)**2 + 1)/known
        self.variance_ = np.maximum(square - self.centre_**2, self.least_variance)
        share = members.sum(axis=0) + 0.5
        self.prior_ = np.log(share/share.sum())

    def log_terms(self, X):
        "Log-likelihood of each cell in each grade, shape (n, grades, p)"
        Z = ((X - self.mean_)/self.scale_)[:, None, :]
        return np.nan_to_num(-((Z - self.centre_)**2/self.variance_ + np.log(self.variance_))/2)

    def _probability(self, X):
        return softmax(self.log_terms(X).sum(axis=2) + self.prior_, axis=1)

    def _write(self, folder):
        names = ("mean_", "scale_", "centre_", "variance_", "prior_")
        write_json(folder/"bayes.json", {name: getattr(self, name).tolist() for name in names})

    def _read(self, folder):
        found = json.loads((folder/"bayes.json").read_text(encoding="utf-8"))
        for name, values in found.items(): setattr(self, name, np.array(values, float))
        self.restore(*self.centre_.shape)


def slope(grades):
    "Weights that turn a number a grade into the slope of a line through them, rising towards the better grades"
    centred = (grades - 1)/2 - np.arange(grades)
    return centred/(centred**2).sum()


def explain_bayes(model, X):
    "What each column adds, the average student in the last column, shape (n, p+1), and the unit"
    family = model.pipeline_["family"]
    weights = slope(len(family.prior_))
    average = np.einsum("nkp,k->np", family.log_terms(family.mean_[None, :]), weights)
    added = np.einsum("nkp,k->np", family.log_terms(X), weights) - average
    base = average.sum() + weights @ family.prior_
    return np.c_[added, np.full(len(X), base)], "log-odds per grade"
