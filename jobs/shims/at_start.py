"""Put, as `sitecustomize`, before the import path: the folder above goes last on it, and who was hidden has his turn.

In a container nobody can say beforehand which packages of Azure ML its Python has: those go first, as they do outside.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys

_own = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.dirname(_own))
_others = [place for place in sys.path if os.path.abspath(place) != _own]
_hidden = importlib.machinery.PathFinder.find_spec("sitecustomize", _others)
if _hidden is not None and _hidden.loader is not None:
    _hidden.loader.exec_module(importlib.util.module_from_spec(_hidden))
