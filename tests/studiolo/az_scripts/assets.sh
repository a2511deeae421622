#!/bin/bash
# In the way of Azure's examples: data, environments, components and models, by file and by options.
set -ex

az ml data create --name rows --version 1 --path rows.csv --type uri_file
az ml data create -f data.yml
az ml data show --name rows --version 1 --query type -o tsv
az ml data list --query "[?name=='folder'].version" -o tsv
az ml data update -n rows -v 1 --set tags.stage=clean --query tags.stage -o tsv

az ml environment create --file environment.yml
az ml environment create -n from-image --image ubuntu
az ml environment list --query "sort([].name)" -o tsv

az ml component create -f component.yml
az ml component create -f component.yml --version 2 --set description="the second"
az ml component show -n count_rows --label latest --query version -o tsv
az ml component list -n count_rows --query "length(@)"

run_id=$(az ml job create -f read.yml --query name -o tsv)
az ml job stream -n $run_id

az ml model create --name from-job --version 1 --type custom_model --path azureml://jobs/$run_id/outputs/artifacts/paths/outputs/
az ml model show -n from-job -v 1 --query "{n: name, v: version}" -o tsv
az ml model list -n from-job --query "[0].name" -o tsv
az ml model download -n from-job -v 1 --download-path got
cat got/from-job/model.txt
az ml model archive -n from-job -v 1
echo "left: $(az ml model list --query "length(@)")"

az ml compute create -n cpu --type amlcompute --min-instances 0 --max-instances 2
az ml compute list --query "[].name" -o tsv
az ml compute delete -n cpu --yes --no-wait
echo "computes: $(az ml compute list --query "length(@)")"
