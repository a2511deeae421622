#!/bin/bash
# In the way of Azure's examples: a schedule, switched off and on, run by hand.
set -e
az ml schedule create --file schedule.yml --no-wait -o none
az ml schedule show --name nightly --query is_enabled -o tsv
az ml schedule disable --name nightly --no-wait -o none
echo "enabled: $(az ml schedule list --query "length(@)")"
az ml schedule enable --name nightly --no-wait -o none
run_id=$(az ml schedule trigger -n nightly --query job_name -o tsv)
az ml job stream -n $run_id
az ml schedule update -n nightly --set trigger.expression="1 2 * * *" --query trigger.expression -o tsv
az ml schedule disable -n nightly -o none
az ml schedule delete -n nightly --yes
echo "left: $(az ml schedule list --include-disabled --query "length(@)")"
