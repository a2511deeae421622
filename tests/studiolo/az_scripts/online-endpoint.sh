#!/bin/bash
# In the way of Azure's examples: an endpoint, two deployments, traffic between them, keys, answers, logs.
set -e
export ENDPOINT_NAME=endpt-`echo $RANDOM`

# <create_endpoint>
az ml online-endpoint create --name $ENDPOINT_NAME -f endpoint.yml
# </create_endpoint>
az ml online-deployment create --name blue --endpoint $ENDPOINT_NAME -f deployment.yml --all-traffic
az ml online-endpoint show -n $ENDPOINT_NAME --query "traffic"
state=$(az ml online-endpoint show -n $ENDPOINT_NAME --query provisioning_state -o tsv)
echo "endpoint: $state"
deploy_status=$(az ml online-deployment show --name blue --endpoint $ENDPOINT_NAME --query provisioning_state --output tsv)
echo "deployment: $deploy_status"

# <test_endpoint>
az ml online-endpoint invoke --name $ENDPOINT_NAME --request-file request.json
# </test_endpoint>

az ml online-deployment create -n green -e $ENDPOINT_NAME -f deployment.yml --set environment_variables.WORD=green
az ml online-endpoint invoke -n $ENDPOINT_NAME --deployment green -r request.json
az ml online-endpoint update --name $ENDPOINT_NAME --traffic "blue=90 green=10" --query "traffic.green" -o tsv
az ml online-deployment list --endpoint-name $ENDPOINT_NAME --query "[].name" -o tsv
echo "key: $(az ml online-endpoint get-credentials -n $ENDPOINT_NAME -o tsv --query primaryKey | wc -w)"
az ml online-endpoint regenerate-keys -n $ENDPOINT_NAME --key-type secondary > /dev/null
SCORING_URI=$(az ml online-endpoint show -n $ENDPOINT_NAME -o tsv --query scoring_uri)
echo "uri: ${SCORING_URI##*/}"
az ml online-deployment get-logs --name blue --endpoint $ENDPOINT_NAME -l 100 -c inference-server
az ml online-endpoint update --name $ENDPOINT_NAME --traffic "blue=100 green=0" -o none
az ml online-deployment delete --name green --endpoint $ENDPOINT_NAME --yes --no-wait
az ml online-endpoint delete --name $ENDPOINT_NAME --yes --no-wait
echo "left: $(az ml online-endpoint list --query "length(@)")"
