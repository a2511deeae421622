"""Say which of the cluster's tasks this one is; a parameter server would wait here for the workers."""

import json
import os
import sys
from pathlib import Path

config = json.loads(os.environ["TF_CONFIG"])
task = config["task"]
sizes = {role: len(addresses) for role, addresses in config["cluster"].items()}
Path(sys.argv[1], f"{task['type']}-{task['index']}.json").write_text(json.dumps(sizes, sort_keys=True))
