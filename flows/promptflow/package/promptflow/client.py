"""Runs from Python: `PFClient().run(flow, data=…)`."""

from studiolo.pf_client import PFClient as PFClient
from studiolo.pf_client import load_flow as load_flow
from studiolo.pf_client import load_run as load_run
