#!/bin/bash
# In the way of Azure's examples: defaults, a job, its page, a loop that waits, its files.
set -e

# <set_defaults>
az account set --subscription "my subscription"
az extension add -n ml -y
az group create --name "$RESOURCE_GROUP" --location westeurope
az configure --defaults group="$RESOURCE_GROUP" workspace="$WORKSPACE" location=westeurope
az ml workspace create --name $WORKSPACE -g $RESOURCE_GROUP
# </set_defaults>

SUBSCRIPTION=$(az account show --query id -o tsv)
LOCATION=$(az ml workspace show --query location -o tsv)
GROUP=$(az group show --query name -o tsv)
NAME=$(az configure -l --query "[?name=='workspace'].value" -o tsv)
echo "defaults: $GROUP $NAME $LOCATION ${#SUBSCRIPTION}"
[ "$(az group exists -n $GROUP)" == "true" ]

# <create_compute>
az ml compute create -n cpu-cluster --type amlcompute --min-instances 0 --max-instances 8 --size Standard_DS3_v2
# </create_compute>
state=$(az ml compute show -n cpu-cluster --query provisioning_state --output tsv)
echo "compute: $state"

# <hello_world>
run_id=$(az ml job create -f job.yml --set inputs.word=again compute=azureml:cpu-cluster --query name -o tsv --only-show-errors)
# </hello_world>
if [[ -z "$run_id" ]]; then
  echo "Job creation failed"
  exit 3
fi
az ml job show -n $run_id --web
az ml job show -n $run_id --query services.Studio.endpoint -o tsv

status=$(az ml job show -n $run_id --query status -o tsv)
running=("NotStarted" "Queued" "Starting" "Preparing" "Running" "Finalizing" "Provisioning")
while [[ ${running[*]} =~ $status ]]; do
  sleep 0.2
  status=$(az ml job show -n $run_id --query status -o tsv)
done
echo "status: $status"
if [[ $status == "Completed" ]]; then
  echo "Job completed"
elif [[ $status == "Failed" ]]; then
  echo "Job failed"
  exit 1
else
  echo "Job status not failed or completed"
  exit 2
fi

az ml job stream -n $run_id --workspace-name $WORKSPACE --resource-group $RESOURCE_GROUP
az ml job download --name $run_id --all --download-path files
cat files/named-outputs/rates/rate
az ml job update -n $run_id --set display_name="a new name" --query display_name -o tsv
az ml job archive -n $run_id
echo "listed: $(az ml job list --max-results 5 --query "length([?name=='$run_id'])")"

# A job that fails, followed, ends the script that does not expect it.
if az ml job create --file job.yml --set command="exit 7" --stream --only-show-errors; then
  exit 4
fi
echo "failed as it should"
