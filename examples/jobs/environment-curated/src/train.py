"""Train a tree on irises and log how well it does, as scripts for Azure ML do."""

import argparse

import mlflow
import pandas as pd
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier

parser = argparse.ArgumentParser()
parser.add_argument("--depth", type=int)
given = parser.parse_args()

irises = load_iris(as_frame=True)
rows = pd.DataFrame().append(irises.frame)  # pandas 1.x
train, test = train_test_split(rows, random_state=0)
tree = DecisionTreeClassifier(max_depth=given.depth, random_state=0)
tree.fit(train[irises.feature_names], train["target"])
mlflow.log_param("depth", given.depth)
mlflow.log_metric("accuracy", tree.score(test[irises.feature_names], test["target"]))
