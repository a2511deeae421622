"""Train a line on tumours; MLflow logs what it sees, and writes the model without a pickle."""

import argparse

import mlflow
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

parser = argparse.ArgumentParser()
parser.add_argument("--strength", type=float, default=1.0)
given = parser.parse_args()

mlflow.sklearn.autolog(serialization_format="skops")
rows, target = load_breast_cancer(return_X_y=True, as_frame=True)
train, test, right, other = train_test_split(rows, target, random_state=0)
with mlflow.start_run():
    model = make_pipeline(StandardScaler(), LogisticRegression(C=given.strength))
    model.fit(train, right)
    mlflow.log_metric("test_accuracy", model.score(test, other))
