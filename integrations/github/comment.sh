#!/usr/bin/env bash
# Writes the report into the pull request: one comment, found by its hidden marker and replaced.
# Wanted: GH_TOKEN, GITHUB_REPOSITORY, PULL_REQUEST and REPORTS. Pull requests of forks have no right to it: that is said.
set -euo pipefail
report="${REPORTS:-eval-reports}/report.md"
[ -f "$report" ] || { echo "no report to comment"; exit 0; }
comments="repos/$GITHUB_REPOSITORY/issues/$PULL_REQUEST/comments"
marker='<!-- studiolo-eval -->'
body=$(mktemp)
python3 -c 'import json, sys; print(json.dumps({"body": open(sys.argv[1], encoding="utf-8").read()}))' "$report" > "$body"
found=$(gh api --paginate "$comments" --jq ".[] | select(.body | startswith(\"$marker\")) | .id" | head -n 1)
if [ -n "$found" ]; then
  gh api --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$found" --input "$body" > /dev/null
else
  gh api --method POST "$comments" --input "$body" > /dev/null \
    || echo "::notice title=No comment::this token may not write comments; the report is in the step summary"
fi
