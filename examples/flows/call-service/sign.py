import hmac

from promptflow.connections import CustomConnection
from promptflow.core import tool


@tool
def sign(message: str, service: CustomConnection) -> str:
    return hmac.new(service.key.encode(), message.encode(), service.algorithm).hexdigest()[:16]
