"""Write down which job has ended: an event comes on standard input, as JSON of CloudEvents."""

import json
import sys
from pathlib import Path

event = json.load(sys.stdin)
with Path(sys.argv[1]).open("a") as file:
    file.write(f"{event['type'].rpartition('.')[2]} {event['subject']}\n")
