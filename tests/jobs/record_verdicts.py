"""Ask the real azure-ai-ml about the corpus anew and write its verdicts: `make verdicts`, after files were added."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.jobs import verdicts

    cache = Path(sys.argv[1])
    cache.mkdir(parents=True, exist_ok=True)
    with verdicts.azure(cache) as azure, tempfile.TemporaryDirectory() as scratch:
        said = verdicts.record(azure, Path(scratch))
    # Where the corpus lies on this machine is nobody's business.
    told = json.dumps(said, indent=0).replace(str(verdicts.CORPUS), "<corpus>")
    verdicts.RECORDED.write_text(told + "\n")
    accepted = sum(reason is None for reason in said["files"].values())
    sys.stdout.write(f"{len(said['files'])} files, {accepted} accepted\n")
