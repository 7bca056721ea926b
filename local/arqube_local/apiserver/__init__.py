"""A fake Kubernetes API server for laptops and tests: good enough for kopf, kubectl and our client, and no more.

It keeps what the contract suite in ``tests/contract`` asks of a real one. It knows no users, no admission, no CEL
rules, no schemas of built-in kinds and no protobuf, so that ``kubectl create secret`` is refused where
``kubectl apply -f`` works. Controllers other than the garbage collector live elsewhere.
"""

from arqube_local.apiserver.faults import WATCH, Faults, Trouble
from arqube_local.apiserver.server import FakeApiServer

__all__ = ["WATCH", "FakeApiServer", "Faults", "Trouble"]
