"""Count words of one length; the length that meets most of them is the rule."""

import json
import os
import sys
import urllib.request
from pathlib import Path

texts, length, rule = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
hits = sum(len(word) == length for path in texts.iterdir() for word in path.read_text().split())
(rule / "length.txt").write_text(str(length))

# What `mlflow.log_metric("hits", hits)` does, for a Python without mlflow.
body = {"run_id": os.environ["MLFLOW_RUN_ID"], "key": "hits", "value": hits, "timestamp": 0, "step": 0}
headers = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ['MLFLOW_TRACKING_TOKEN']}"}
address = f"{os.environ['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/runs/log-metric"
urllib.request.urlopen(urllib.request.Request(address, json.dumps(body).encode(), headers)).close()
