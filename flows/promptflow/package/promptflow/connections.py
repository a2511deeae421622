"""One class for each type of connection."""

from flows.promptflow.connections import AzureAIServicesConnection as AzureAIServicesConnection
from flows.promptflow.connections import AzureContentSafetyConnection as AzureContentSafetyConnection
from flows.promptflow.connections import AzureOpenAIConnection as AzureOpenAIConnection
from flows.promptflow.connections import BingConnection as BingConnection
from flows.promptflow.connections import CognitiveSearchConnection as CognitiveSearchConnection
from flows.promptflow.connections import CustomConnection as CustomConnection
from flows.promptflow.connections import CustomStrongTypeConnection as CustomStrongTypeConnection
from flows.promptflow.connections import FormRecognizerConnection as FormRecognizerConnection
from flows.promptflow.connections import OpenAIConnection as OpenAIConnection
from flows.promptflow.connections import QdrantConnection as QdrantConnection
from flows.promptflow.connections import SerpConnection as SerpConnection
from flows.promptflow.connections import ServerlessConnection as ServerlessConnection
from flows.promptflow.connections import WeaviateConnection as WeaviateConnection
from flows.promptflow.connections import _Connection as _Connection
from flows.promptflow.types import Secret as Secret
