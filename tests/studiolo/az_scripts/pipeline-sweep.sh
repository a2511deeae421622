#!/bin/bash
# In the way of Azure's examples: registered components, a pipeline of them, a sweep, the best trial's files.
set -e
az configure --defaults group=mine workspace=here

for file in component.yml again.yml; do
  az ml component create -f $file --only-show-errors -o none
done
az ml data create -n rows -v 1 --path rows.csv --type uri_file -o none

run_id=$(az ml job create -f pipeline.yml --set inputs.much=2 --query name -o tsv)
if [[ -z "$run_id" ]]; then echo "Job creation failed"; exit 3; fi
az ml job stream --name $run_id
az ml job show -n $run_id --query status -o tsv
echo "steps: $(az ml job list --parent-job-name $run_id --query "length(@)")"
az ml job download -n $run_id --output-name total -p total
echo "total: $(cat total/named-outputs/total/n)"

sweep=$(az ml job create -f sweep.yml --set limits.max_total_trials=2 trial.environment_variables.WORD=set --query name -o tsv)
az ml job stream -n $sweep
az ml job show -n $sweep --query "[status, type, objective.primary_metric]" -o tsv
az ml job download --name $sweep --all -p best
echo "best: $(cat best/named-outputs/kept/word)"
