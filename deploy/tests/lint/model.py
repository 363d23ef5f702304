"""What a rendered overlay is made of: objects, pods, and who is meant by a selector. No rules here."""

import base64
import pathlib
import re
from dataclasses import dataclass, field

import yaml

CLUSTER_WIDE = {
    "ClusterIssuer", "ClusterRole", "ClusterRoleBinding", "Namespace", "PersistentVolume", "StorageClass",
}
WORKLOADS = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


def at(tree, *path, default=None):
    """The value at a path of keys and indices, or the default."""
    for step in path:
        try:
            tree = tree[step]
        except (KeyError, IndexError, TypeError):
            return default
    return tree


def name_of(thing):
    return f"{thing['kind']}/{thing['metadata']['name']}"


def namespace_of(thing):
    return thing["metadata"].get("namespace", "")


def matches(selector, labels):
    """Whether a label selector means a pod with these labels; an empty one means all."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for need in selector.get("matchExpressions") or []:
        value, values = labels.get(need["key"]), need.get("values", [])
        held = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[need["operator"]]
        if not held:
            return False
    return True


@dataclass
class Pod:
    """What a workload starts."""

    owner: dict
    template: dict
    labels: dict = field(default_factory=dict)

    @property
    def name(self):
        return name_of(self.owner)

    @property
    def spec(self):
        return self.template["spec"]

    @property
    def namespace(self):
        return namespace_of(self.owner)

    @property
    def lasting(self):
        """Whether it runs until somebody stops it."""
        return self.owner["kind"] not in ("Job", "CronJob")

    @property
    def alone(self):
        """Whether there is never a second one: jobs that do not overlap."""
        return self.owner["kind"] == "CronJob" and self.owner["spec"].get("concurrencyPolicy") == "Forbid"

    def containers(self):
        return (self.spec.get("initContainers") or []) + (self.spec.get("containers") or [])

    def running(self):
        """The containers that run all the time: not those that only prepare."""
        sidecars = [c for c in self.spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"]
        return sidecars + (self.spec.get("containers") or [])

    def ports(self):
        """(name, number, protocol) of all containers."""
        for container in self.running():
            for port in container.get("ports") or []:
                yield port.get("name"), port["containerPort"], port.get("protocol", "TCP")

    def port_number(self, port, protocol="TCP"):
        """The number of a port that is given by name or number; None when it is not there."""
        for name, number, spoken in self.ports():
            if port in (name, number) and spoken == protocol:
                return number
        return None

    def forebay(self):
        """The container that runs Forebay, if there is one."""
        return next((c for c in self.running() if c["image"].split(":")[0].endswith("forebay")), None)


class Build:
    """One rendered overlay."""

    def __init__(self, name, objects, elsewhere=None):
        self.name = name
        self.objects = objects
        # "Kind/name" -> where it comes from
        self.elsewhere = elsewhere or {}

    @classmethod
    def load(cls, path, folder):
        text = pathlib.Path(path).read_text()
        listed = pathlib.Path(folder) / "made-elsewhere.yaml"
        elsewhere = yaml.safe_load(listed.read_text()) if listed.exists() else {}
        return cls(pathlib.Path(path).stem, [o for o in yaml.safe_load_all(text) if o], elsewhere)

    def of(self, *kinds):
        return [o for o in self.objects if o["kind"] in kinds]

    def find(self, kind, name, namespace=None):
        for thing in self.of(kind):
            if thing["metadata"]["name"] == name and namespace in (None, namespace_of(thing)):
                return thing
        return None

    def has(self, kind, name, namespace=None):
        return self.find(kind, name, namespace) is not None or f"{kind}/{name}" in self.elsewhere

    def pods(self):
        for thing in self.of(*WORKLOADS):
            template = at(thing, *WORKLOADS[thing["kind"]])
            yield Pod(thing, template, at(template, "metadata", "labels", default={}))

    def pods_of(self, selector, namespace):
        return [p for p in self.pods() if p.namespace == namespace and matches(selector, p.labels)]

    def configuration(self, pod, container):
        """Forebay's settings in this container, "section.key" -> value: its file, then its environment."""
        import tomllib

        settings = {}
        for mount in container.get("volumeMounts") or []:
            volume = next((v for v in pod.spec.get("volumes") or [] if v["name"] == mount["name"]), {})
            config = self.find("ConfigMap", at(volume, "configMap", "name"), pod.namespace)
            if config and "forebay.toml" in config["data"]:
                for key, value in tomllib.loads(config["data"]["forebay.toml"]).items():
                    if isinstance(value, dict):
                        settings.update({f"{key}.{inner}": v for inner, v in value.items()})
                    else:
                        settings[key] = value
        for variable in container.get("env") or []:
            if variable["name"].startswith("FOREBAY__"):
                key = variable["name"].removeprefix("FOREBAY__").lower().replace("__", ".")
                settings[key] = variable.get("value", "")
        return settings

    def texts(self):
        """All configuration there is as text: (where, text)."""
        for thing in self.of("ConfigMap"):
            for key, text in (thing.get("data") or {}).items():
                yield f"{name_of(thing)} {key}", text
        for thing in self.of("InnoDBCluster", "PerconaServerMySQL", "MariaDB"):
            for path in (("mycnf",), ("mysql", "configuration"), ("myCnf",)):
                text = at(thing, "spec", *path)
                if text:
                    yield name_of(thing), text


def decoded(secret):
    return {k: base64.b64decode(v).decode() for k, v in (secret.get("data") or {}).items()}


def number_in(text, pattern):
    found = re.search(pattern, text, re.MULTILINE)
    return int(found.group(1)) if found else None
