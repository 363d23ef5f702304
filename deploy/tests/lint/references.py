"""Rules about names: whatever is named is there, and means what it should."""

import re

from model import CLUSTER_WIDE, at, decoded, matches, name_of, namespace_of


def identities(build):
    """Each object once; in a namespace unless it belongs to the whole cluster."""
    seen = set()
    for thing in build.objects:
        key = (thing["apiVersion"].split("/")[0], name_of(thing), namespace_of(thing))
        if key in seen:
            yield f"{name_of(thing)} is there twice"
        seen.add(key)
        if (thing["kind"] in CLUSTER_WIDE) == bool(namespace_of(thing)):
            yield f"{name_of(thing)}: namespace '{namespace_of(thing)}'"


def lengths(build):
    """Names that are longer than the API server takes them."""
    for thing in build.of("CronJob"):
        if len(thing["metadata"]["name"]) > 52:
            yield f"{name_of(thing)}: its jobs' names would be too long"
    for pod in build.pods():
        seen = set()
        for name, _, protocol in pod.ports():
            if name is None or len(name) > 15 or not re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name):
                yield f"{pod.name}: a port cannot be called '{name}'"
            if name in seen:
                yield f"{pod.name} has two ports called '{name}'"
            seen.add(name)
        for key, value in pod.labels.items():
            if len(str(value)) > 63 or not isinstance(value, str):
                yield f"{pod.name}: label {key} is '{value}'"


def selectors(build):
    """A workload's selector means its own pods and nobody else's."""
    pods = list(build.pods())
    for thing in build.of("Deployment", "StatefulSet", "DaemonSet"):
        selector = thing["spec"]["selector"]
        own = [p for p in pods if p.owner is thing][0]
        if not matches(selector, own.labels):
            yield f"{name_of(thing)} does not select its own pods"
        for pod in pods:
            if pod.owner is not thing and pod.namespace == own.namespace and matches(selector, pod.labels):
                yield f"{name_of(thing)} also selects the pods of {pod.name}"


def services(build):
    """A service means pods, and its ports are theirs."""
    for service in build.of("Service"):
        name, spec = name_of(service), service["spec"]
        pods = [p for p in build.pods_of({"matchLabels": spec.get("selector")}, namespace_of(service)) if p.lasting]
        if not spec.get("selector") or not pods:
            yield f"{name} selects no pods"
        if len({p.name for p in pods}) > 1:
            yield f"{name} selects the pods of {', '.join(sorted(p.name for p in pods))}"
        for port in spec["ports"]:
            for pod in pods:
                target = port.get("targetPort", port["port"])
                if pod.port_number(target, port.get("protocol", "TCP")) is None:
                    yield f"{name}: {pod.name} has no port '{target}'"
        if at(spec, "clusterIP") not in (None, "None"):
            yield f"{name} demands the address {spec['clusterIP']}"
    for thing in build.of("StatefulSet"):
        service = build.find("Service", thing["spec"]["serviceName"], namespace_of(thing))
        if service is None:
            yield f"{name_of(thing)} has no service '{thing['spec']['serviceName']}'"


def targets(build):
    """Autoscalers and disruption budgets have somebody to act upon."""
    scaled = {}
    for scaler in build.of("HorizontalPodAutoscaler"):
        ref = scaler["spec"]["scaleTargetRef"]
        target = build.find(ref["kind"], ref["name"], namespace_of(scaler))
        if target is None or target["apiVersion"] != ref["apiVersion"]:
            yield f"{name_of(scaler)}: there is no {ref['kind']}/{ref['name']}"
            continue
        scaled[name_of(target)] = scaler
        if "replicas" in target["spec"]:
            yield f"{name_of(target)} sets replicas, and so does its autoscaler"
        if scaler["spec"]["minReplicas"] < 2:
            yield f"{name_of(scaler)} goes down to one"
    for budget in build.of("PodDisruptionBudget"):
        pods = [p for p in build.pods_of(budget["spec"]["selector"], namespace_of(budget)) if p.lasting]
        if len(pods) != 1:
            yield f"{name_of(budget)} selects {len(pods)} workloads"
        for pod in pods:
            if pod.owner["kind"] == "DaemonSet":
                yield f"{name_of(budget)}: a DaemonSet has no number to keep to"
        if budget["spec"].get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            yield f"{name_of(budget)}: a broken pod can hold up the drain of a node"
    for pod in build.pods():
        if pod.owner["kind"] in ("Deployment", "StatefulSet"):
            replicas = pod.owner["spec"].get("replicas", 1)
            many = replicas > 1 or pod.name in scaled
            guarded = any(pod.owner in [q.owner for q in build.pods_of(b["spec"]["selector"], namespace_of(b))]
                          for b in build.of("PodDisruptionBudget"))
            if many and not guarded:
                yield f"{pod.name} has no disruption budget"
            if "replicas" not in pod.owner["spec"] and pod.name not in scaled:
                yield f"{pod.name}: nobody says how many"


def _used(build):
    """(who, kind, name, namespace, keys or None, optional) of all that pods take from."""
    for pod in build.pods():
        for volume in pod.spec.get("volumes") or []:
            sources = [volume] + (at(volume, "projected", "sources") or [])
            for source in sources:
                for kind, field, named in (("ConfigMap", "configMap", "name"), ("Secret", "secret", "secretName")):
                    if field in source:
                        ref = source[field]
                        keys = [i["key"] for i in ref.get("items") or []] + _mounted_keys(pod, volume)
                        yield pod, kind, ref.get(named) or ref.get("name"), keys
        for container in pod.containers():
            for source in container.get("envFrom") or []:
                for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                    if field in source:
                        yield pod, kind, source[field]["name"], []
            for variable in container.get("env") or []:
                for kind, field in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
                    ref = at(variable, "valueFrom", field)
                    if ref:
                        yield pod, kind, ref["name"], [ref["key"]]


def _mounted_keys(pod, volume):
    """Files that are mounted one by one out of a volume."""
    if "configMap" not in volume and "secret" not in volume:
        return []
    return [m["subPath"] for c in pod.containers() for m in c.get("volumeMounts") or []
            if m["name"] == volume["name"] and "subPath" in m]


def sources(build):
    """ConfigMaps, Secrets, claims, accounts and volumes that pods take from are there, with those keys."""
    certificates = {c["spec"]["secretName"]: c for c in build.of("Certificate")}
    for pod, kind, name, keys in _used(build):
        thing = build.find(kind, name, pod.namespace)
        if thing is None:
            if kind == "Secret" and name in certificates or build.has(kind, name):
                continue
            yield f"{pod.name}: there is no {kind}/{name}"
            continue
        for key in keys:
            if key not in {**(thing.get("data") or {}), **(thing.get("stringData") or {})}:
                yield f"{pod.name}: {kind}/{name} has no '{key}'"
    for pod in build.pods():
        volumes = {v["name"] for v in pod.spec.get("volumes") or []}
        volumes |= {c["metadata"]["name"] for c in pod.owner["spec"].get("volumeClaimTemplates") or []}
        mounted = {m["name"] for c in pod.containers() for m in c.get("volumeMounts") or []}
        for missing in mounted - volumes:
            yield f"{pod.name} mounts '{missing}', which it does not have"
        for idle in volumes - mounted:
            yield f"{pod.name} has the volume '{idle}' and mounts it nowhere"
        for volume in pod.spec.get("volumes") or []:
            claim = at(volume, "persistentVolumeClaim", "claimName")
            if claim and not build.has("PersistentVolumeClaim", claim, pod.namespace):
                yield f"{pod.name}: there is no PersistentVolumeClaim/{claim}"
        account = pod.spec.get("serviceAccountName")
        if account and not build.has("ServiceAccount", account, pod.namespace):
            yield f"{pod.name}: there is no ServiceAccount/{account}"


def leftovers(build):
    """What is generated is used by somebody."""
    used = {(kind, name) for _, kind, name, _ in _used(build)}
    for thing in build.of("InnoDBCluster", "PerconaServerMySQL", "MariaDB", "User"):
        used |= {("Secret", text) for text in _strings(thing["spec"])}
    for thing in build.of("ConfigMap", "Secret"):
        if "grafana_dashboard" in (thing["metadata"].get("labels") or {}):
            continue
        if (thing["kind"], thing["metadata"]["name"]) not in used:
            yield f"{name_of(thing)} is used by nobody"


def _strings(tree):
    if isinstance(tree, dict):
        for value in tree.values():
            yield from _strings(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _strings(value)
    elif isinstance(tree, str):
        yield tree


def storage(build):
    """Claims name classes that are there, and shared folders can be shared."""
    claims = [(name_of(c), namespace_of(c), c["spec"]) for c in build.of("PersistentVolumeClaim")]
    for thing in build.of("StatefulSet"):
        claims += [(f"{name_of(thing)} {c['metadata']['name']}", namespace_of(thing), c["spec"])
                   for c in thing["spec"].get("volumeClaimTemplates") or []]
    for name, _, spec in claims:
        wanted = spec.get("storageClassName")
        if wanted and not build.has("StorageClass", wanted):
            yield f"{name}: there is no StorageClass/{wanted}"
        volume = spec.get("volumeName")
        if wanted == "" and not (volume and build.has("PersistentVolume", volume)):
            yield f"{name} waits for a volume that nobody names"
    for volume in build.of("PersistentVolume"):
        ref = volume["spec"].get("claimRef") or {}
        if not build.find("PersistentVolumeClaim", ref.get("name"), ref.get("namespace")):
            yield f"{name_of(volume)} may be taken by any claim"
    for thing in build.of("StorageClass", "PersistentVolume"):
        policy = thing.get("reclaimPolicy") or at(thing, "spec", "persistentVolumeReclaimPolicy")
        if policy != "Retain":
            yield f"{name_of(thing)}: what is deleted by mistake is gone"
    mounted = [(pod, claim) for pod in build.pods() for volume in pod.spec.get("volumes") or []
               if (claim := build.find("PersistentVolumeClaim", at(volume, "persistentVolumeClaim", "claimName"), pod.namespace))]
    for pod, claim in mounted:
        shared = any(not other.alone for other, theirs in mounted if theirs is claim)
        if shared and "ReadWriteMany" not in claim["spec"]["accessModes"]:
            yield f"{pod.name} shares {name_of(claim)}, which one node can mount"


def entrances(build):
    """Ways in lead to services, certificates have issuers, and no placeholder is left."""
    secrets = {c["spec"]["secretName"] for c in build.of("Certificate")}
    secrets |= {s["metadata"]["name"] for s in build.of("Secret")}
    issuers = {("Issuer", i["metadata"]["name"]) for i in build.of("Issuer")}
    issuers |= {("ClusterIssuer", i["metadata"]["name"]) for i in build.of("ClusterIssuer")}
    for certificate in build.of("Certificate"):
        ref = certificate["spec"]["issuerRef"]
        if (ref["kind"], ref["name"]) not in issuers and not build.has(ref["kind"], ref["name"]):
            yield f"{name_of(certificate)}: there is no {ref['kind']}/{ref['name']}"
    for issuer in build.of("Issuer"):
        secret = at(issuer, "spec", "ca", "secretName")
        if secret and secret not in secrets:
            yield f"{name_of(issuer)}: there is no Secret/{secret}"
    for who, service, port in _backends(build):
        found = build.find("Service", service, namespace_of(who))
        if found is None or port not in [x for p in found["spec"]["ports"] for x in (p["port"], p.get("name"))]:
            yield f"{name_of(who)}: there is no Service/{service} with port '{port}'"
    for who, secret in _certificates_wanted(build):
        if secret not in secrets:
            yield f"{name_of(who)}: there is no Secret/{secret}"
    for route in build.of("IngressRoute"):
        for rule in route["spec"]["routes"]:
            for middleware in rule.get("middlewares") or []:
                if not build.has("Middleware", middleware["name"], namespace_of(route)):
                    yield f"{name_of(route)}: there is no Middleware/{middleware['name']}"
    for route in build.of("HTTPRoute"):
        for parent in route["spec"]["parentRefs"]:
            gateway = build.find("Gateway", parent["name"], namespace_of(route))
            listeners = [x["name"] for x in at(gateway, "spec", "listeners", default=[])]
            if parent.get("sectionName") not in listeners:
                yield f"{name_of(route)}: there is no listener '{parent.get('sectionName')}'"
    for thing in build.objects:
        for text in _strings(thing):
            if re.fullmatch(r"the-site|the-overlay-says|.*Host\(`the-site`\).*|nas\.env", text):
                yield f"{name_of(thing)}: '{text}' was to be replaced"


def _backends(build):
    for thing in build.of("Ingress"):
        for rule in thing["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                yield thing, service["name"], service["port"].get("name") or service["port"].get("number")
    for thing in build.of("IngressRoute"):
        for route in thing["spec"]["routes"]:
            for service in route["services"]:
                yield thing, service["name"], service["port"]
    for thing in build.of("HTTPRoute"):
        for rule in thing["spec"]["rules"]:
            for ref in rule.get("backendRefs") or []:
                yield thing, ref["name"], ref["port"]


def _certificates_wanted(build):
    for thing in build.of("Ingress"):
        for entry in thing["spec"].get("tls") or []:
            yield thing, entry["secretName"]
    for thing in build.of("IngressRoute"):
        if at(thing, "spec", "tls", "secretName"):
            yield thing, thing["spec"]["tls"]["secretName"]
    for thing in build.of("Gateway"):
        for listener in thing["spec"]["listeners"]:
            for ref in at(listener, "tls", "certificateRefs", default=[]):
                yield thing, ref["name"]


def accounts_of_pods(build):
    """Nobody carries a token of the API server who has no rights there."""
    bound = {(s["name"], s["namespace"]) for b in build.of("RoleBinding", "ClusterRoleBinding") for s in b["subjects"]}
    for pod in build.pods():
        token = pod.spec.get("automountServiceAccountToken", True)
        needs = (pod.spec.get("serviceAccountName"), pod.namespace) in bound
        if token and not needs:
            yield f"{pod.name} carries a token that it has no use for"
    for binding in build.of("RoleBinding", "ClusterRoleBinding"):
        ref = binding["roleRef"]
        if not build.has(ref["kind"], ref["name"]):
            yield f"{name_of(binding)}: there is no {ref['kind']}/{ref['name']}"
        for subject in binding["subjects"]:
            if not build.has(subject["kind"], subject["name"], subject.get("namespace")):
                yield f"{name_of(binding)}: there is no {subject['kind']}/{subject['name']}"


def passwords(build):
    """Every password is random, and none is repeated."""
    seen = {}
    for secret in build.of("Secret"):
        for key, value in decoded(secret).items():
            if key in ("rootUser", "rootHost"):
                continue
            if len(value) < 24:
                yield f"{name_of(secret)} {key} is short"
            if value in seen:
                yield f"{name_of(secret)} {key} is the same as {seen[value]}"
            seen[value] = f"{name_of(secret)} {key}"


RULES = [identities, lengths, selectors, services, targets, sources, leftovers, storage, entrances, accounts_of_pods, passwords]
