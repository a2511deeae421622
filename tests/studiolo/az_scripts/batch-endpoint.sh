#!/bin/bash
# In the way of Azure's examples: a batch endpoint, a deployment, a job over files, its scores.
set -e
ENDPOINT_NAME="letters"

# <create_compute>
az ml compute create -n batch-cluster --type amlcompute --min-instances 0 --max-instances 5
# </create_compute>
az ml batch-endpoint create --name $ENDPOINT_NAME --only-show-errors -o none
az ml batch-deployment create --file batch.yml --endpoint-name $ENDPOINT_NAME --set-default --only-show-errors -o none
az ml batch-endpoint show --name $ENDPOINT_NAME --query "defaults.deployment_name" -o tsv
az ml batch-deployment show --name count --endpoint-name $ENDPOINT_NAME --query mini_batch_size -o tsv

# <start_batch_scoring_job>
JOB_NAME=$(az ml batch-endpoint invoke --name $ENDPOINT_NAME --input things --input-type uri_folder --query name -o tsv)
# </start_batch_scoring_job>
az ml job show -n $JOB_NAME --web > /dev/null
az ml job stream -n $JOB_NAME
status=$(az ml job show -n $JOB_NAME --query status -o tsv)
echo "batch: $status"
az ml batch-endpoint list-jobs --name $ENDPOINT_NAME --query "length(@)"
az ml job download --name $JOB_NAME --output-name score --download-path scores
cat scores/named-outputs/score/predictions.csv
az ml batch-endpoint update --name $ENDPOINT_NAME --set defaults.deployment_name=count --query name -o tsv
az ml batch-deployment delete --name count --endpoint-name $ENDPOINT_NAME --yes
az ml batch-endpoint delete --name $ENDPOINT_NAME --yes
echo "left: $(az ml batch-endpoint list --query "length(@)")"
