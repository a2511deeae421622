"""What an environment asks for becomes a Python to run with: `prepare` one, `layer` a job's own on it."""

from __future__ import annotations

from jobs.environments.events import Container as Container
from jobs.environments.events import Event as Event
from jobs.environments.events import Prepared as Prepared
from jobs.environments.events import Preparing as Preparing
from jobs.environments.events import Waiting as Waiting
from jobs.environments.layer import layer as layer
from jobs.environments.layer import variables as variables
from jobs.environments.prepare import find as find
from jobs.environments.prepare import prepare as prepare
