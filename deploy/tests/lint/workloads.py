"""Rules about what runs: probes, ends, budgets, rights, images, rollouts."""

import re

from model import at, name_of, number_in

# Connections of a server that are not Forebay's: its peers', operators', people's.
RESERVED = 40
# What a process may take to end once there is nothing left to wait for.
MARGIN_S = 5


def probes(build):
    """What lasts is probed, at ports that are there; Forebay never by its MySQL port."""
    for pod in build.pods():
        for container in pod.running() if pod.lasting else []:
            who = f"{pod.name} {container['name']}"
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                probe = container.get(kind)
                for action in ("httpGet", "tcpSocket"):
                    port = at(probe, action, "port")
                    own = [x for p in container.get("ports") or [] for x in (p.get("name"), p["containerPort"])]
                    if port is not None and port not in own:
                        yield f"{who}: {kind} asks port '{port}', which is not there"
                if container is pod.forebay() and probe and at(probe, "httpGet", "port") != "admin":
                    yield f"{who}: {kind} must ask the admin port"
            sidecar = container in (pod.spec.get("initContainers") or [])
            if not container.get("ports") and sidecar:
                continue   # a helper that nobody talks to
            if "livenessProbe" not in container:
                yield f"{who} has no liveness probe"
            if "readinessProbe" not in container and not sidecar:
                yield f"{who} has no readiness probe"
            paths = {k: at(container, k, "httpGet", "path") for k in ("livenessProbe", "readinessProbe")}
            if container is pod.forebay() and paths["livenessProbe"] != "/livez":
                yield f"{who}: liveness is /livez"
            if container is pod.forebay() and not sidecar and paths["readinessProbe"] != "/readyz":
                yield f"{who}: readiness is /readyz"


def ends(build):
    """The grace period holds all that happens in it, and requests outlive the news that a pod leaves."""
    for pod in build.pods():
        if not pod.lasting:
            continue
        grace = pod.spec.get("terminationGracePeriodSeconds", 30)
        sidecars = [c for c in pod.spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"]
        longest = max(_end_s(build, pod, c) for c in pod.spec["containers"])
        # sidecars end after the others, one by one
        needed = longest + sum(_end_s(build, pod, c) for c in sidecars) + MARGIN_S
        if needed > grace:
            yield f"{pod.name} needs {needed} s to end and has {grace}"
        for container in pod.spec["containers"]:
            served = any(p in pod.labels.items() for s in build.of("Service")
                         for p in (s["spec"].get("selector") or {}).items())
            http = any(p.get("name") == "http" for p in container.get("ports") or [])
            if served and http and not at(container, "lifecycle", "preStop", "sleep", "seconds"):
                yield f"{pod.name} {container['name']} stops while requests still come"


def _end_s(build, pod, container):
    seconds = at(container, "lifecycle", "preStop", "sleep", "seconds", default=0)
    if container is pod.forebay():
        settings = build.configuration(pod, container)
        return seconds + int(settings.get("drain.delay_s", 5)) + int(settings.get("drain.deadline_s", 60))
    for mount in container.get("volumeMounts") or []:
        if mount["mountPath"].startswith("/etc/apache2/"):
            volume = next(v for v in pod.spec["volumes"] if v["name"] == mount["name"])
            config = build.find("ConfigMap", at(volume, "configMap", "name"), pod.namespace)
            text = at(config, "data", mount.get("subPath"), default="")
            return seconds + (number_in(text, r"^GracefulShutdownTimeout (\d+)") or 0)
    return seconds


def drain_covers_endpoints(build):
    """Forebay behind a Service serves on until every node has heard that it leaves."""
    for pod in build.pods():
        container = pod.forebay()
        if container and pod.lasting and container in pod.spec["containers"]:
            if int(build.configuration(pod, container).get("drain.delay_s", 5)) < 5:
                yield f"{pod.name} stops before the endpoints are gone"


def connections(build):
    """All pools together stay below the servers' max_connections."""
    limits = [n for _, text in build.texts() if (n := number_in(text, r"^\s*max_connections\s*=\s*(\d+)"))]
    if "max_connections" in build.elsewhere:
        limits.append(int(build.elsewhere["max_connections"]))
    if not limits:
        yield "nobody says what max_connections is"
        return
    scalers = {(h["spec"]["scaleTargetRef"]["kind"], h["spec"]["scaleTargetRef"]["name"]): h["spec"]["maxReplicas"]
               for h in build.of("HorizontalPodAutoscaler")}
    pools = []
    for pod in build.pods():
        container = pod.forebay()
        if not container:
            continue
        owner = pod.owner
        nodes = at(owner, "metadata", "annotations", "forebay/nodes-max")
        if owner["kind"] == "DaemonSet" and nodes is None:
            yield f"{pod.name} does not say for how many nodes it is meant"
            continue
        most = int(nodes or 0) or scalers.get((owner["kind"], owner["metadata"]["name"]), owner["spec"].get("replicas", 1))
        strategy = owner["spec"].get("strategy") or owner["spec"].get("updateStrategy") or {}
        most += int(at(strategy, "rollingUpdate", "maxSurge", default=0))
        pool = int(build.configuration(pod, container).get("pool.max_connections_per_server", 100))
        pools.append((most * pool, f"{pod.name}: {most} pods with {pool} connections each"))
    if sum(n for n, _ in pools) + RESERVED > min(limits):
        yield f"{', '.join(words for _, words in pools)}, and {RESERVED}: more than {min(limits)}"


def rights(build):
    """Every container fits Kubernetes' restricted profile, cannot write to its image, and is bounded."""
    for pod in build.pods():
        outer = pod.spec.get("securityContext") or {}
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.spec.get(key):
                yield f"{pod.name} has {key}"
        shared = None
        for volume in pod.spec.get("volumes") or []:
            path = at(volume, "hostPath", "path")
            if path is None:
                continue
            if path not in _socket_folders(build):
                yield f"{pod.name} mounts the node's {path}"
            elif not _is_trusted(build, pod.namespace):
                yield f"{pod.name}: its namespace refuses the node's {path}"
            shared = volume["name"]
        if pod.spec.get("enableServiceLinks", True):
            yield f"{pod.name} has every service in its environment"
        for container in pod.containers():
            who = f"{pod.name} {container['name']}"
            inner = container.get("securityContext") or {}
            both = {**outer, **inner}
            if container in (pod.spec.get("initContainers") or []) and _gives_folder(container, shared):
                both, inner = {**both, "runAsNonRoot": True, "runAsUser": 65532}, {**inner, "capabilities": {"drop": ["ALL"]}}
            if not both.get("runAsNonRoot") or both.get("runAsUser") == 0:
                yield f"{who} may be root"
            if at(both, "seccompProfile", "type") != "RuntimeDefault":
                yield f"{who} has no seccomp profile"
            if inner.get("allowPrivilegeEscalation") is not False or inner.get("privileged"):
                yield f"{who} may gain privileges"
            capabilities = inner.get("capabilities") or {}
            if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
                yield f"{who} keeps capabilities"
            if not inner.get("readOnlyRootFilesystem"):
                yield f"{who} can write to its image"
            resources = container.get("resources") or {}
            if not at(resources, "requests", "cpu") or not at(resources, "requests", "memory"):
                yield f"{who} requests nothing"
            if not at(resources, "limits", "memory"):
                yield f"{who} has no bound of memory"
            if at(resources, "limits", "cpu"):
                yield f"{who} is throttled"


def _socket_folders(build):
    """Where a Forebay of each node listens."""
    for pod in build.pods():
        container = pod.forebay()
        if container and pod.owner["kind"] == "DaemonSet":
            path = build.configuration(pod, container).get("unix")
            if path:
                yield path.rpartition("/")[0]


def _is_trusted(build, namespace):
    labels = at(build.find("Namespace", namespace), "metadata", "labels", default={})
    return labels.get("pod-security.kubernetes.io/enforce") == "privileged"


def _gives_folder(container, shared):
    """It gives Forebay the node's folder, which the kubelet made for root, and can do no more."""
    mounts = [m["name"] for m in container.get("volumeMounts") or []]
    added = at(container, "securityContext", "capabilities", "add")
    return shared and mounts == [shared] and added == ["CHOWN"] and container["command"][0] == "chown" \
        and container.get("restartPolicy") != "Always"


def handover(build):
    """Two Forebays of one node, the old and the new of a rollout, share a socket by turns."""
    for pod in build.pods():
        container = pod.forebay()
        if not container or pod.owner["kind"] != "DaemonSet":
            continue
        settings = build.configuration(pod, container)
        surge = at(pod.owner, "spec", "updateStrategy", "rollingUpdate", "maxSurge", default=0)
        if settings.get("unix") and surge and str(settings.get("unix_takeover", "")).lower() != "true":
            yield f"{pod.name}: the new one of a rollout cannot have the old one's socket"
        if settings.get("unix") and not surge:
            yield f"{pod.name}: nobody listens at its socket during a rollout"


def users(build):
    """Every container has a user of its own number."""
    for pod in build.pods():
        for container in pod.containers():
            both = {**(pod.spec.get("securityContext") or {}), **(container.get("securityContext") or {})}
            if both.get("runAsUser") is None:
                yield f"{pod.name} {container['name']} leaves its user to the cluster"


def images(build):
    """Images have versions, and everybody runs the same."""
    versions = {}
    for pod in build.pods():
        for container in pod.containers():
            image = container["image"]
            name, _, version = image.rpartition(":")
            if not name or "/" in version or version in ("latest", ""):
                yield f"{pod.name} {container['name']}: '{image}' has no version"
            family = version.split("-")[0] if not version.startswith("cli") else "cli"
            if versions.setdefault((name, family.count(".") > 0), version) != version:
                yield f"{pod.name} {container['name']}: '{image}', elsewhere '{versions[(name, family.count('.') > 0)]}'"


def rollouts(build):
    """A rollout takes nobody away before somebody else is there; many are spread over nodes."""
    for pod in build.pods():
        spec, kind = pod.owner["spec"], pod.owner["kind"]
        if kind == "Deployment":
            step = at(spec, "strategy", "rollingUpdate", default={})
            if at(spec, "strategy", "type") != "RollingUpdate" or step.get("maxUnavailable") != 0 or not step.get("maxSurge"):
                yield f"{pod.name}: its rollout is an outage"
        if kind == "StatefulSet" and at(spec, "updateStrategy", "rollingUpdate", "maxUnavailable"):
            yield f"{pod.name}: rollingUpdate.maxUnavailable is not to be trusted on 1.35"
        if kind == "StatefulSet" and spec.get("volumeClaimTemplates"):
            if at(spec, "persistentVolumeClaimRetentionPolicy", "whenScaled") != "Retain":
                yield f"{pod.name}: who scales it in loses data"
        if kind in ("Deployment", "StatefulSet") and spec.get("replicas", 2) > 1:
            keys = [c["topologyKey"] for c in pod.spec.get("topologySpreadConstraints") or []]
            if "kubernetes.io/hostname" not in keys:
                yield f"{pod.name} may end up on one node"
            for spread in pod.spec.get("topologySpreadConstraints") or []:
                labels = at(spread, "labelSelector", "matchLabels", default={})
                if not labels or any(pod.labels.get(k) != v for k, v in labels.items()):
                    yield f"{pod.name} is spread away from others' pods"


def jobs(build):
    """A job ends, and a clock does not start it twice."""
    for thing in build.of("CronJob", "Job"):
        spec = at(thing, "spec", "jobTemplate", "spec", default=thing["spec"])
        if not spec.get("activeDeadlineSeconds"):
            yield f"{name_of(thing)} may run for ever"
        if thing["kind"] == "CronJob" and thing["spec"].get("concurrencyPolicy") != "Forbid":
            yield f"{name_of(thing)} may run beside itself"


def literals(build):
    """No password in the open: neither in the environment nor in an argument."""
    for pod in build.pods():
        for container in pod.containers():
            for variable in container.get("env") or []:
                name, value = variable["name"], variable.get("value")
                if re.search(r"PASSWORD|SECRET|TOKEN|_KEY$|_SALT$", name) and value and not name.endswith("_FILE") \
                        and not value.startswith("/run/secrets/"):
                    yield f"{pod.name}: {name} is in the open"
                if name.startswith("MYSQL_ALLOW_EMPTY"):
                    yield f"{pod.name}: {name}"
            for word in (container.get("command") or []) + (container.get("args") or []):
                if re.search(r"--password=|--requirepass|\bmysql\w* (?:.* )?-p\S", word):
                    yield f"{pod.name}: a password among the arguments"
                if re.search(r"default.authentication.plugin|mysql.native.password", word):
                    yield f"{pod.name}: '{word}' is gone since MySQL 9"


RULES = [probes, ends, drain_covers_endpoints, connections, rights, handover, users, images, rollouts, jobs, literals]
