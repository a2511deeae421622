"""Fail the first time, as a machine does that loses its network; the second attempt finds what the first has left."""

import os
import sys
from pathlib import Path

print(os.environ["GREETING"], os.environ["RATE"], os.environ["DEEP"], "in", os.environ["AZUREML_EXPERIMENT_NAME"])
been_here = Path(os.environ["STUDIOLO_HOME"], "been-here")
if not been_here.exists():
    been_here.write_text("once\n")
    sys.exit("no network")
