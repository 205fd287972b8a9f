"""Logistic probes as scikit-learn learns them, for the tests: `python probe.py OUT.json`.

Features that correlate, kinds that overlap, both penalties, several C, as given and standardised. The intercept is free of the
penalty, as with the solvers lbfgs and saga (liblinear penalises it).
"""

import json
import sys
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

ROWS, WIDTH = 40, 6


def main(out):
    warnings.simplefilter("error")
    random = np.random.default_rng(5)
    hidden = random.normal(size=(ROWS, 2))
    features = hidden @ random.normal(size=(2, WIDTH)) + 0.7 * random.normal(size=(ROWS, WIDTH))
    features = np.round(features * np.array([1, 3, 0.5, 1, 1, 2]) + np.array([0, 2, 0, -1, 0, 0]), 6)
    positive = hidden[:, 0] + 0.8 * random.normal(size=ROWS) > 0.3
    fits = []
    for penalty in ["l1", "l2"]:
        for c in [0.1, 1.0]:
            for standardise in [False, True]:
                fits.append(fit(features, positive, penalty, c, standardise))
    golden = {"features": features.tolist(), "positive": positive.tolist(), "fits": fits}
    with open(out, "w") as file:
        json.dump(golden, file)
        file.write("\n")


def fit(features, positive, penalty, c, standardise):
    scaler = StandardScaler().fit(features)
    given = scaler.transform(features) if standardise else features
    # saga alone knows L1 without a penalty of the intercept.
    solver = {"l1": "saga", "l2": "lbfgs"}[penalty]
    kinds = {"l1": {"l1_ratio": 1.0}, "l2": {"l1_ratio": 0.0}}[penalty]
    model = LogisticRegression(C=c, solver=solver, tol=1e-12, max_iter=1_000_000, random_state=0, **kinds)
    model.fit(given, positive)
    weights = model.coef_[0] / scaler.scale_ if standardise else model.coef_[0]
    intercept = model.intercept_[0] - (weights @ scaler.mean_ if standardise else 0.0)
    called = model.predict(given)
    return {
        "penalty": penalty,
        "c": c,
        "standardise": standardise,
        "weights": weights.tolist(),
        "intercept": float(intercept),
        "scores": model.decision_function(given).tolist(),
        "accuracy": accuracy_score(positive, called),
        "precision": precision_score(positive, called),
        "recall": recall_score(positive, called),
        "f1": f1_score(positive, called),
        "auroc": roc_auc_score(positive, model.decision_function(given)),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
