"""AutoML on five data sets: ours, FLAML alone, AutoGluon's medium preset; the same rows, seconds and threads for each.

    python benchmarks/automl.py adult diabetes --seconds 300 --tools ours,flaml,autogluon --autogluon PYTHON

AutoGluon runs in a Python of its own. All are held against the same test rows; differences have a paired bootstrap
interval. The data lies beside the repository, in `../shared/data/classical`; `diabetes` is scikit-learn's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DATA = Path(__file__).parents[2] / "shared" / "data" / "classical"
TOOLS = ("ours", "flaml", "autogluon")
SETS = {  # task, target, metric
    "adult": ("classification", "income", "auc"),
    "acs": ("classification", "PINCP", "auc"),
    "banking77": ("text", "category", "accuracy"),
    "diabetes": ("regression", "target", "rmse"),
    "jfk": ("forecasting", "temp", "rmse"),
}
HORIZON = 168  # hours of JFK's weather
LESS_IS_BETTER = ("rmse",)


def split(name, folder):
    """Write train and test rows, the same for all."""
    import pandas as pd

    if name == "adult":
        table = pd.read_csv(DATA / "adult.csv.gz")
    elif name == "acs":
        table = pd.read_parquet(DATA / "acs_income_332900.parquet").sample(50_000, random_state=7)
    elif name == "diabetes":
        from sklearn.datasets import load_diabetes

        table = load_diabetes(as_frame=True).frame
    elif name == "banking77":
        pd.read_csv(DATA / "banking77_train.csv.gz").to_parquet(folder / "train.parquet")
        pd.read_csv(DATA / "banking77_test.csv.gz").to_parquet(folder / "test.parquet")
        return
    else:
        table = pd.read_csv(DATA / "jfk_weather_hourly_2013.csv.gz")
        table = series(table)
        table.iloc[:-HORIZON].to_parquet(folder / "train.parquet")
        table.iloc[-HORIZON:].to_parquet(folder / "test.parquet")
        return
    shuffled = table.sample(frac=1, random_state=7).reset_index(drop=True)
    held = len(shuffled) // 4
    shuffled.iloc[held:].reset_index(drop=True).to_parquet(folder / "train.parquet")
    shuffled.iloc[:held].reset_index(drop=True).to_parquet(folder / "test.parquet")


def series(table):
    """Return the hours without gaps, and the temperature in them."""
    import pandas as pd

    moments = pd.to_datetime(table["time_hour"], utc=True).dt.tz_localize(None)
    values = pd.Series(table["temp"].to_numpy(), index=moments).groupby(level=0).mean()
    values = values.asfreq("h").interpolate()
    return pd.DataFrame({"hour": values.index, "temp": values.to_numpy()})


def ours(train, test, *, task, target, seconds, threads):
    """Fit by Studiolo; return what is predicted of the test rows."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from finetune.automl.model import CHANCES, TableModel
    from finetune.automl.search import Found, search
    from finetune.automl.wanted import Horizon, Wanted

    kind = {"text": "text_classification"}.get(task, task)
    metric = {"classification": "auc_weighted", "text": "accuracy"}.get(task, "normalized_root_mean_squared_error")
    given = {"task": kind, "target": target, "metric": metric, "seconds": seconds, "cores": threads}
    with tempfile.TemporaryDirectory() as folder:
        if task == "forecasting":
            from finetune.automl.forecasting import ForecastModel, forecast

            wanted = Wanted(**given, horizon=Horizon(time="hour", steps=HORIZON))
            events = list(forecast(train, wanted, folder=Path(folder)))
            model = ForecastModel(events[-1].folder)
            return list(map(float, model.predict(test.drop(columns=[target])))), events[-1].kind
        wanted = Wanted(**given, gives_up=False)
        found = next(event for event in search(train, wanted, folder=Path(folder)) if isinstance(event, Found))
        model = TableModel(found.folder)
        output = CHANCES if task == "classification" else "labels"
        said = model.predict(test, {"output": output} if task == "classification" else None)
        return column(said), f"{found.kind} of {len(found.outcomes)} trials"


def flaml(train, test, *, task, target, seconds, threads):
    """Fit by FLAML alone; texts as TF-IDF, as it has nothing of its own for them without weights of the Hub."""
    from flaml import AutoML

    features, truth = train.drop(columns=[target]), train[target]
    asked = test.drop(columns=[target])
    given = {"time_budget": seconds, "n_jobs": threads, "seed": 7, "verbose": 0}
    automl = AutoML()
    if task == "text":
        from sklearn.feature_extraction.text import TfidfVectorizer

        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
        features = words.fit_transform(features.iloc[:, 0])
        automl.fit(features, truth.to_numpy(), task="classification", metric="accuracy", **given)
        return column(automl.predict(words.transform(asked.iloc[:, 0]))), automl.best_estimator
    if task == "forecasting":
        automl.fit(dataframe=train, label=target, task="ts_forecast", metric="rmse", period=HORIZON,
                   eval_method="holdout", **given)  # fmt: skip
        return column(automl.predict(asked)), automl.best_estimator
    kind = "classification" if task == "classification" else "regression"
    automl.fit(features, truth, task=kind, metric="roc_auc" if task == "classification" else "rmse", **given)
    said = automl.predict_proba(asked)[:, 1] if task == "classification" else automl.predict(asked)
    return column(said), automl.best_estimator


def autogluon(train, test, *, task, target, seconds, threads):
    """Fit by AutoGluon with the preset medium_quality."""
    with tempfile.TemporaryDirectory() as folder:
        if task == "forecasting":
            from autogluon.timeseries import TimeSeriesDataFrame, TimeSeriesPredictor

            rows = train.assign(item_id="jfk").rename(columns={"hour": "timestamp"})
            data = TimeSeriesDataFrame.from_data_frame(rows)
            predictor = TimeSeriesPredictor(
                prediction_length=HORIZON, target=target, eval_metric="RMSE", path=folder, freq="h", verbosity=1
            )
            predictor.fit(data, time_limit=seconds, presets="medium_quality")
            return column(predictor.predict(data)["mean"]), predictor.model_best
        from autogluon.tabular import TabularPredictor

        metric = {"classification": "roc_auc", "text": "accuracy"}.get(task, "root_mean_squared_error")
        predictor = TabularPredictor(label=target, eval_metric=metric, path=folder, verbosity=1)
        predictor.fit(train, time_limit=seconds, presets="medium_quality", num_cpus=threads)
        asked = test.drop(columns=[target])
        if task == "classification":
            return column(predictor.predict_proba(asked).iloc[:, 1]), predictor.model_best
        return column(predictor.predict(asked)), predictor.model_best


def column(values):
    """Return plain values; of a table of chances those of its last class."""
    if getattr(values, "ndim", 1) > 1:
        values = values.iloc[:, -1] if hasattr(values, "iloc") else values[:, -1]
    return [value.item() if hasattr(value, "item") else value for value in list(values)]


def run_one(tool, name, folder, seconds, threads):
    """Be the process of one tool."""
    import pandas as pd

    train, test = (pd.read_parquet(folder / f"{part}.parquet") for part in ("train", "test"))
    task, target, _ = SETS[name]
    began, used = time.monotonic(), time.process_time()
    said, told = globals()[tool](train, test, task=task, target=target, seconds=seconds, threads=threads)
    took = {"wall": time.monotonic() - began, "cpu": time.process_time() - used}
    used_children = os.times().children_user + os.times().children_system
    (folder / f"{tool}.json").write_text(
        json.dumps({"said": said, "told": str(told), **took, "cpu": took["cpu"] + used_children})
    )


def measure(name, truth, said):
    """Return the metric of predictions."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    metric = SETS[name][2]
    if metric == "auc":
        return float(roc_auc_score(truth, np.asarray(said, dtype=float)))
    if metric == "accuracy":
        return float(np.mean(np.asarray(truth) == np.asarray(said)))
    return float(np.sqrt(np.mean((np.asarray(truth, float) - np.asarray(said, float)) ** 2)))


def difference(name, truth, ours_said, theirs):
    """Return how much better ours is, with the paired bootstrap's 95 % interval; hours are drawn a day at a time."""
    import numpy as np

    sign = -1 if SETS[name][2] in LESS_IS_BETTER else 1
    luck = np.random.default_rng(0)
    first, second, truth = np.asarray(ours_said), np.asarray(theirs), np.asarray(truth)
    block = 24 if name == "jfk" else 1
    found = []
    for _ in range(500):
        blocks = luck.integers(0, len(truth) // block, len(truth) // block)
        places = (blocks[:, None] * block + np.arange(block)).ravel()
        if SETS[name][2] == "auc" and len(set(truth[places])) < 2:
            continue
        better, worse = (measure(name, truth[places], said[places]) for said in (first, second))
        found.append(sign * (better - worse))
    whole = sign * (measure(name, truth, first) - measure(name, truth, second))
    low, high = np.quantile(found, [0.025, 0.975])
    return whole, float(low), float(high)


def compare(name, options, folder):
    """Run the tools over one data set, back to back, and print a row each."""
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    split(name, folder)
    truth = pd.read_parquet(folder / "test.parquet")[SETS[name][1]]
    if SETS[name][2] == "auc":
        truth = (truth == sorted(truth.unique())[-1]).astype(int)
    limits = {each: str(options.threads) for each in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    found = {}
    for tool in options.tools.split(","):
        python = options.autogluon if tool == "autogluon" else sys.executable
        line = [python, "-W", "ignore", __file__, name, "--only", tool, "--seconds", str(options.seconds), "--threads",
                str(options.threads), "--folder", str(folder)]  # fmt: skip
        passive = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
        load = os.getloadavg()[0]
        with (folder / f"{tool}.log").open("w") as log:
            ended = subprocess.run(line, env={**os.environ, **limits, **passive}, stdout=log, stderr=log, check=False)
        if ended.returncode:
            print(f"{name:10} {tool:10} failed: see {folder / tool}.log", flush=True)
            continue
        found[tool] = json.loads((folder / f"{tool}.json").read_text())
        score = measure(name, truth, found[tool]["said"])
        print(f"{name:10} {tool:10} {SETS[name][2]} {score:.5f}  wall {found[tool]['wall']:.0f} s  "
              f"cpu {found[tool]['cpu']:.0f} s  load {load:.1f}  {found[tool]['told']}", flush=True)  # fmt: skip
    for tool in found:
        if tool != "ours" and "ours" in found:
            gain, low, high = difference(name, truth, found["ours"]["said"], found[tool]["said"])
            print(f"{name:10} ours - {tool}: {gain:+.5f} [{low:+.5f}, {high:+.5f}] (more is better)", flush=True)


def main():
    """Read what is asked."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("sets", nargs="*", default=["diabetes"], choices=SETS)
    asked.add_argument("--seconds", type=float, default=20)
    asked.add_argument("--threads", type=int, default=1)
    asked.add_argument("--tools", default="ours,flaml")
    asked.add_argument("--autogluon", default=sys.executable, help="a Python that has AutoGluon")
    asked.add_argument("--only", choices=TOOLS, help=argparse.SUPPRESS)
    asked.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "automl-benchmark")
    options = asked.parse_args()
    for name in options.sets:
        if options.only:
            run_one(options.only, name, options.folder, options.seconds, options.threads)
        else:
            compare(name, options, options.folder / name)


if __name__ == "__main__":
    main()
