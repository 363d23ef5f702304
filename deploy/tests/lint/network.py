"""Rules about who may talk to whom: the policies, and what follows from them."""

from model import at, matches, name_of, namespace_of


def policies(build):
    """A policy means pods that are there, by ports that they have; and everybody has one."""
    covered = {"Ingress": set(), "Egress": set()}
    for policy in build.of("NetworkPolicy"):
        spec, namespace = policy["spec"], namespace_of(policy)
        pods = build.pods_of(spec["podSelector"], namespace)
        if not pods:
            yield f"{name_of(policy)} means nobody"
        for direction in spec["policyTypes"]:
            covered[direction] |= {p.name for p in pods}
        for rule in spec.get("ingress") or []:
            for port in rule.get("ports") or []:
                for pod in pods:
                    if pod.port_number(port["port"], port.get("protocol", "TCP")) is None:
                        yield f"{name_of(policy)}: {pod.name} has no port '{port['port']}'"
        for rule in (spec.get("ingress") or []) + (spec.get("egress") or []):
            for peer in rule.get("from") or rule.get("to") or []:
                labels = at(peer, "podSelector", "matchLabels", default={})
                optional = "namespaceSelector" in peer or any(k.endswith("-client") for k in labels)
                made = any(k.startswith("Pods/") and k[5:] in [f"{a}={b}" for a, b in labels.items()] for k in build.elsewhere)
                if labels and not optional and not made and not build.pods_of(peer["podSelector"], namespace):
                    yield f"{name_of(policy)}: there are no pods {labels}"
    for pod in build.pods():
        if pod.namespace == "wordpress" and pod.name not in covered["Egress"]:
            yield f"{pod.name} may talk to anybody"
        if pod.namespace == "wordpress" and pod.name not in covered["Ingress"]:
            yield f"{pod.name} may be talked to by anybody"


def allowed(build, source, target, port):
    """Whether a pod may open a connection to a port of another one, of the same namespace."""
    return _lets(build, source, target, port, "Egress") and _lets(build, target, source, port, "Ingress")


def _lets(build, pod, other, port, direction):
    own = [p["spec"] for p in build.of("NetworkPolicy") if namespace_of(p) == pod.namespace
           and direction in p["spec"]["policyTypes"] and matches(p["spec"]["podSelector"], pod.labels)]
    if not own:
        return True
    owner = other if direction == "Egress" else pod
    side, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    for spec in own:
        for rule in spec.get(side) or []:
            numbers = [owner.port_number(p["port"]) if isinstance(p["port"], str) else p["port"]
                       for p in rule.get("ports") or []]
            meant = [p for p in rule.get(peers) or [] if "podSelector" in p and "namespaceSelector" not in p
                     and matches(p["podSelector"], other.labels)]
            if (not rule.get("ports") or port in numbers) and (not rule.get(peers) or meant):
                return True
    return False


def paths(build):
    """WordPress reaches Forebay, Forebay reaches MySQL, and nobody goes past Forebay."""
    pods = list(build.pods())
    servers = [p for p in pods if p.owner["kind"] == "StatefulSet" and p.owner["metadata"]["name"] == "mysql"]
    for pod in pods:
        host = _variable(pod, "WORDPRESS_DB_HOST") or _variable(pod, "DATABASE_HOST")
        if host and not pod.forebay():
            service = build.find("Service", host, pod.namespace)
            selector = {"matchLabels": at(service, "spec", "selector", default={})}
            for proxy in build.pods_of(selector, pod.namespace) if service else []:
                if not allowed(build, pod, proxy, 3306):
                    yield f"{pod.name} cannot reach {proxy.name}"
        for server in servers:
            may = allowed(build, pod, server, 3306)
            if pod.forebay() and not may:
                yield f"{pod.name} cannot reach {server.name}"
            if pod is not server and not pod.forebay() and may:
                yield f"{pod.name} can go past Forebay"
    for pod in pods:
        if pod.labels.get("redis-client"):
            for server in pods:
                if server.owner["metadata"]["name"] == "redis" and not allowed(build, pod, server, 6379):
                    yield f"{pod.name} cannot reach {server.name}"


def _variable(pod, name):
    for container in pod.containers():
        for variable in container.get("env") or []:
            if variable["name"] == name:
                return variable.get("value")
    return None


def databases(build):
    """Every database address is Forebay's: its service, or the socket that it shares."""
    for pod in build.pods():
        host = _variable(pod, "WORDPRESS_DB_HOST") or _variable(pod, "DATABASE_HOST")
        if host is None:
            continue
        if ":/" in host:
            path = host.split(":", 1)[1]
            proxy = pod.forebay()
            if not proxy:
                yield from _socket_of_node(build, pod, path)
            elif build.configuration(pod, proxy).get("unix") != path:
                yield f"{pod.name}: nobody in it listens on {path}"
            elif _volume_at(pod.spec["containers"][0], path) != _volume_at(proxy, path):
                yield f"{pod.name}: {path} is not shared"
            continue
        service = build.find("Service", host, pod.namespace)
        behind = build.pods_of({"matchLabels": at(service, "spec", "selector")}, pod.namespace) if service else []
        if not behind or not all(p.forebay() for p in behind):
            yield f"{pod.name}: its database is '{host}', which is not Forebay"
        if _variable(pod, "REPLICA_DB_HOST"):
            yield f"{pod.name} has an address of replicas: a plugin splits in front of Forebay"


def _socket_of_node(build, pod, path):
    """One Forebay on each node listens there, in the folder that this pod mounts too."""
    folders = set()
    for other in build.pods():
        proxy = other.forebay()
        if proxy and other.owner["kind"] == "DaemonSet" and build.configuration(other, proxy).get("unix") == path:
            folders.add(_node_folder(other, proxy, path))
    if not folders:
        yield f"{pod.name}: nobody on its node listens on {path}"
    elif folders != {_node_folder(pod, pod.spec["containers"][0], path)} or None in folders:
        yield f"{pod.name}: {path} is not shared with its node"


def _node_folder(pod, container, path):
    name = _volume_at(container, path)
    return next((at(v, "hostPath", "path") for v in pod.spec.get("volumes") or [] if v["name"] == name), None)


def _volume_at(container, path):
    for mount in container.get("volumeMounts") or []:
        if path.startswith(mount["mountPath"] + "/"):
            return mount["name"]
    return None


def servers(build):
    """The servers that Forebay is told of have names, and the writer is one."""
    for pod in build.pods():
        container = pod.forebay()
        if not container:
            continue
        settings = build.configuration(pod, container)
        replicas = settings.get("replicas") or []
        if not replicas:
            yield f"{pod.name} knows no replicas"
        for host in [settings.get("primary", "")] + list(replicas):
            host = host.split(":")[0]
            if host.count(".") >= 2 and not host.endswith(".svc"):
                continue   # somebody else's, by its whole name
            member, _, service = host.rpartition(".")
            if not build.has("Service", service, pod.namespace):
                yield f"{pod.name}: there is no service '{service}' of '{host}'"
            elif member:
                if member not in [m for s in build.of("StatefulSet") if s["spec"]["serviceName"] == service for m in _members(s)]:
                    yield f"{pod.name}: there is no pod '{host}'"


def _members(thing):
    """The names of a StatefulSet's pods."""
    first = at(thing, "spec", "ordinals", "start", default=0)
    return [f"{thing['metadata']['name']}-{n}" for n in range(first, first + thing["spec"].get("replicas", 1))]


RULES = [policies, paths, databases, servers]
