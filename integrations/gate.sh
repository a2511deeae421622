#!/usr/bin/env bash
# Runs a task, compares it with its baseline and exits with the gate's code: 0 passed, 1 error, 2 usage, 3 failed.
# Wanted: TASK. Optional: TARGET, BASELINE, REPORTS (a folder), STUDIOLO (the command). The reports are written first.
set -euo pipefail
studiolo=${STUDIOLO:-studiolo}
reports=${REPORTS:-eval-reports}
run="ci-$(date -u +%Y%m%d-%H%M%S)-$$"
mkdir -p "$reports"

"$studiolo" eval run "$TASK" ${TARGET:+--target "$TARGET"} --name "$run" -o "$reports/run.html"

code=0
"$studiolo" eval gate "$run" --task "$TASK" ${BASELINE:+--baseline "$BASELINE"} ${GITHUB_ACTIONS:+--annotate} \
  -o "$reports/report.json" -o "$reports/report.html" -o "$reports/report.md" -o "$reports/junit.xml" || code=$?
if [ -f "$reports/report.md" ]; then
  cat "$reports/report.md" >> "${GITHUB_STEP_SUMMARY:-/dev/null}"
fi
exit "$code"
