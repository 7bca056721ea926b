"""What kinds of objects the server serves: the built-in ones, and those that CustomResourceDefinitions add."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from arqube_local.apiserver.schema import Schema

VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where an object of a scalable kind keeps its numbers, as paths such as ``.spec.replicas``."""

    spec: str = ".spec.replicas"
    status: str = ".status.replicas"
    selector: str | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind in one version.

    ``schema`` is that of a custom kind. ``unconditional_update`` says that a PUT may leave out the
    resourceVersion; ``graceful`` that a deletion waits for a kubelet.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_status: bool = False
    scale: ScalePaths | None = None
    generation: bool = False
    unconditional_update: bool = True
    graceful: bool = False
    schema: Schema | None = field(default=None, compare=False)
    columns: tuple[Mapping[str, Any], ...] = field(default=(), compare=False)
    singular_name: str = ""

    @property
    def api_version(self) -> str:
        """``v1`` or ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        """``deployment``."""
        return self.singular_name or self.kind.lower()

    @property
    def qualified(self) -> str:
        """``pods`` or ``deployments.apps``, as messages name a kind."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def key(self) -> tuple[str, str]:
        """What objects of the kind are stored under."""
        return (self.group, self.plural)


_WORKLOAD_SCALE: Final = ScalePaths()

NAMESPACES: Final = Kind("", "v1", "namespaces", "Namespace", False, ("ns",), has_status=True)
PODS: Final = Kind("", "v1", "pods", "Pod", True, ("po",), ("all",), has_status=True, generation=True, graceful=True)
SERVICES: Final = Kind("", "v1", "services", "Service", True, ("svc",), ("all",), has_status=True)
SECRETS: Final = Kind("", "v1", "secrets", "Secret")
CONFIG_MAPS: Final = Kind("", "v1", "configmaps", "ConfigMap", True, ("cm",))
SERVICE_ACCOUNTS: Final = Kind("", "v1", "serviceaccounts", "ServiceAccount", True, ("sa",))
EVENTS: Final = Kind("", "v1", "events", "Event", True, ("ev",))
NODES: Final = Kind("", "v1", "nodes", "Node", False, ("no",), has_status=True)
DEPLOYMENTS: Final = Kind(
    "apps", "v1", "deployments", "Deployment", True, ("deploy",), ("all",), True, _WORKLOAD_SCALE, True
)
REPLICA_SETS: Final = Kind(
    "apps", "v1", "replicasets", "ReplicaSet", True, ("rs",), ("all",), True, _WORKLOAD_SCALE, True
)
LEASES: Final = Kind("coordination.k8s.io", "v1", "leases", "Lease", unconditional_update=False)
DEFINITIONS: Final = Kind(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    False,
    ("crd", "crds"),
    ("api-extensions",),
    has_status=True,
    generation=True,
    unconditional_update=False,
)

BUILT_IN: Final = (
    NAMESPACES,
    PODS,
    SERVICES,
    SECRETS,
    CONFIG_MAPS,
    SERVICE_ACCOUNTS,
    EVENTS,
    NODES,
    DEPLOYMENTS,
    REPLICA_SETS,
    LEASES,
    DEFINITIONS,
)


def kinds_of(definition: Mapping[str, Any]) -> Iterator[Kind]:
    """The kinds, one a served version, that a CustomResourceDefinition adds."""
    spec = definition["spec"]
    names = spec["names"]
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        subresources = version.get("subresources") or {}
        scale = subresources.get("scale")
        yield Kind(
            group=spec["group"],
            version=version["name"],
            plural=names["plural"],
            kind=names["kind"],
            namespaced=spec.get("scope") == "Namespaced",
            short_names=tuple(names.get("shortNames") or ()),
            categories=tuple(names.get("categories") or ()),
            has_status="status" in subresources,
            scale=ScalePaths(scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath"))
            if scale is not None
            else None,
            generation=True,
            unconditional_update=False,
            schema=Schema((version.get("schema") or {}).get("openAPIV3Schema") or {}),
            columns=tuple(version.get("additionalPrinterColumns") or ()),
            singular_name=names.get("singular") or "",
        )


class Kinds:
    """All kinds served now."""

    def __init__(self) -> None:
        self._served: dict[tuple[str, str, str], Kind] = {}
        for kind in BUILT_IN:
            self.add(kind)

    def add(self, kind: Kind) -> None:
        """Serve ``kind``, in place of what was served under its name."""
        self._served[kind.group, kind.version, kind.plural] = kind

    def remove(self, group: str, plural: str) -> None:
        """Serve no version of a kind any more."""
        for key in [key for key in self._served if key[0] == group and key[2] == plural]:
            del self._served[key]

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        """The kind of that name."""
        return self._served.get((group, version, plural))

    def of(self, api_version: str, kind: str) -> Kind | None:
        """The kind that an object's ``apiVersion`` and ``kind`` name."""
        return next((each for each in self if each.api_version == api_version and each.kind == kind), None)

    def __iter__(self) -> Iterator[Kind]:
        return iter(tuple(self._served.values()))
