"""Say which of the cluster's tasks this one is. Workers wait for the parameter servers, which end with them."""

import json
import os
import sys
import time
from pathlib import Path

config, roles = json.loads(os.environ["TF_CONFIG"]), Path(sys.argv[1])
task, cluster = config["task"], config["cluster"]
sizes = {role: len(addresses) for role, addresses in cluster.items()}
(roles / f"{task['type']}-{task['index']}.json").write_text(json.dumps(sizes, sort_keys=True))
while task["type"] != "ps" and len(list(roles.glob("ps-*.json"))) < len(cluster["ps"]):
    time.sleep(0.05)
