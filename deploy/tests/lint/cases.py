"""Shows each rule bite: a rendered overlay with one thing wrong, and what is said about it.

    python3 deploy/tests/lint/cases.py REPOSITORY RENDERED_FOLDER

A case is a line: the rule, the build, the object, what is changed there (a path with / between its steps,
~1 for a / in a step, - for one more), the new value (GONE takes it away), and a part of what must be said.
"""

import copy
import pathlib
import sys
import tempfile

import network
import references
import repository
import workloads
from model import Build, name_of

GONE = object()
WHOLE = "metadata/name"
FOREBAY, SITE, MYSQL = "Deployment/forebay", "Deployment/wordpress", "StatefulSet/mysql"
POD = "spec/template/spec"
FIRST = f"{POD}/containers/0"

CASES = [
    # names
    ("identities", "quickstart", "Service/mysql-read", WHOLE, "mysql", "is there twice"),
    ("identities", "gke-nfs", "StorageClass/nfs", "metadata/namespace", "wordpress", "namespace 'wordpress'"),
    ("identities", "quickstart", FOREBAY, "metadata/namespace", GONE, "namespace ''"),
    ("lengths", "quickstart", "CronJob/wordpress-cron", WHOLE, "wordpress-" * 6, "too long"),
    ("lengths", "quickstart", FOREBAY, f"{FIRST}/ports/1/name", "administration-port", "cannot be called"),
    ("lengths", "sidecar", SITE, f"{POD}/initContainers/0/ports/0/name", "http", "two ports"),
    ("lengths", "quickstart", SITE, "spec/template/metadata/labels/forebay-client", True, "label forebay-client"),
    ("selectors", "quickstart", FOREBAY, "spec/selector/matchLabels/app.kubernetes.io~1name", "proxy", "its own pods"),
    ("selectors", "quickstart", FOREBAY, "spec/template/metadata/labels/app.kubernetes.io~1name", "wordpress", "also selects"),
    ("services", "quickstart", "Service/forebay", "spec/selector/app.kubernetes.io~1name", "proxy", "selects no pods"),
    ("services", "quickstart", "Service/forebay", "spec/ports/0/targetPort", "sql", "no port 'sql'"),
    ("services", "quickstart", "Service/forebay", "spec/ports/0/targetPort", 3307, "no port '3307'"),
    ("services", "quickstart", "Service/wordpress", "spec/clusterIP", "10.96.30.168", "demands the address"),
    ("services", "quickstart", MYSQL, "spec/serviceName", "database", "has no service 'database'"),
    ("targets", "gke-nfs", "HorizontalPodAutoscaler/forebay", "spec/scaleTargetRef/name", "proxy", "no Deployment/proxy"),
    ("targets", "gke-nfs", "HorizontalPodAutoscaler/forebay", "spec/scaleTargetRef/apiVersion", "apps/v1beta1", "there is no"),
    ("targets", "gke-nfs", FOREBAY, "spec/replicas", 2, "so does its autoscaler"),
    ("targets", "gke-nfs", "HorizontalPodAutoscaler/forebay", "spec/minReplicas", 1, "goes down to one"),
    ("targets", "quickstart", SITE, "spec/replicas", GONE, "nobody says how many"),
    ("targets", "quickstart", "PodDisruptionBudget/mysql", "spec/selector/matchLabels/app.kubernetes.io~1name", "sql", "selects 0"),
    ("targets", "quickstart", "PodDisruptionBudget/forebay", "spec/selector/matchLabels/app.kubernetes.io~1name", "mysql", "Deployment/forebay has no disruption budget"),
    ("targets", "quickstart", "PodDisruptionBudget/mysql", "spec/unhealthyPodEvictionPolicy", GONE, "hold up the drain"),
    ("targets", "daemonset", "PodDisruptionBudget/mysql", "spec/selector/matchLabels/app.kubernetes.io~1name", "forebay", "DaemonSet has no number"),
    ("sources", "quickstart", FOREBAY, f"{POD}/volumes/0/configMap/name", "forebay-old", "no ConfigMap/forebay-old"),
    ("sources", "quickstart", FOREBAY, f"{POD}/volumes/1/secret/items/0/key", "password", "has no 'password'"),
    ("sources", "quickstart", SITE, f"{FIRST}/envFrom/0/secretRef/name", "salts", "no Secret/salts"),
    ("sources", "quickstart", SITE, f"{FIRST}/volumeMounts/2/subPath", "alive.php", "has no 'alive.php'"),
    ("sources", "quickstart", SITE, f"{FIRST}/volumeMounts/0/name", "code", "mounts 'code'"),
    ("sources", "quickstart", "PersistentVolumeClaim/wordpress-data", WHOLE, "nfs", "no PersistentVolumeClaim/wordpress-data"),
    ("sources", "quickstart", FOREBAY, f"{POD}/serviceAccountName", "proxy", "no ServiceAccount/proxy"),
    ("leftovers", "quickstart", FOREBAY, f"{POD}/volumes/0/configMap/name", "x", "ConfigMap/forebay"),
    ("storage", "gke-nfs", "StorageClass/mysql-disk", WHOLE, "slow", "no StorageClass/mysql-disk"),
    ("storage", "gke-nfs", "StorageClass/mysql-disk", "reclaimPolicy", "Delete", "deleted by mistake"),
    ("storage", "gke-nfs", "PersistentVolumeClaim/wordpress-data", "spec/accessModes", ["ReadWriteOnce"], "one node can mount"),
    ("storage", "gke-nfs", "CronJob/backup", "spec/concurrencyPolicy", "Allow", "one node can mount"),
    ("storage", "cck-nas", "PersistentVolume/wordpress-data", "spec/claimRef", GONE, "taken by any claim"),
    ("storage", "cck-nas", "PersistentVolumeClaim/wordpress-data", "spec/volumeName", GONE, "waits for a volume"),
    ("entrances", "cck-nas", "Certificate/wordpress", "spec/issuerRef/name", "staging", "no ClusterIssuer/staging"),
    ("entrances", "cck-nas", "Ingress/wordpress", "spec/rules/0/http/paths/0/backend/service/name", "web", "no Service/web"),
    ("entrances", "cck-nas", "Ingress/wordpress", "spec/tls/0/secretName", "tls", "no Secret/tls"),
    ("entrances", "cck-nas", "Ingress/wordpress", "spec/rules/0/host", "the-site", "was to be replaced"),
    ("entrances", "rook-ceph-traefik", "Middleware/redirect-https", WHOLE, "redirect", "no Middleware/redirect-https"),
    ("entrances", "external-db-rds", "HTTPRoute/wordpress", "spec/parentRefs/0/sectionName", "tls", "no listener 'tls'"),
    ("accounts_of_pods", "quickstart", FOREBAY, f"{POD}/automountServiceAccountToken", True, "no use for"),
    ("accounts_of_pods", "gke-nfs", "ClusterRole/nfs-server", WHOLE, "nfs", "no ClusterRole/nfs-server"),
    ("passwords", "quickstart", "Secret/mysql-accounts", "data/root-password", "MTIzNDU2", "is short"),
    # what runs
    ("probes", "quickstart", FOREBAY, f"{FIRST}/readinessProbe/httpGet/port", "mysql", "must ask the admin port"),
    ("probes", "quickstart", FOREBAY, f"{FIRST}/livenessProbe/httpGet/path", "/readyz", "liveness is /livez"),
    ("probes", "quickstart", FOREBAY, f"{FIRST}/readinessProbe/httpGet/path", "/livez", "readiness is /readyz"),
    ("probes", "quickstart", SITE, f"{FIRST}/livenessProbe/httpGet/port", "web", "is not there"),
    ("probes", "quickstart", SITE, f"{FIRST}/readinessProbe", GONE, "no readiness probe"),
    ("probes", "sidecar", SITE, f"{POD}/initContainers/0/livenessProbe", GONE, "no liveness probe"),
    ("ends", "quickstart", FOREBAY, f"{POD}/terminationGracePeriodSeconds", 60, "needs 75 s to end and has 60"),
    ("ends", "quickstart", SITE, f"{POD}/terminationGracePeriodSeconds", 30, "needs 45 s to end and has 30"),
    ("ends", "sidecar", SITE, f"{POD}/terminationGracePeriodSeconds", 45, "needs 50 s to end and has 45"),
    ("ends", "quickstart", SITE, f"{FIRST}/lifecycle", GONE, "while requests still come"),
    ("drain_covers_endpoints", "daemonset", "DaemonSet/forebay", f"{FIRST}/env/-", {"name": "FOREBAY__DRAIN__DELAY_S", "value": "0"}, "before the endpoints"),
    ("connections", "gke-nfs", "HorizontalPodAutoscaler/forebay", "spec/maxReplicas", 20, "more than 1000"),
    ("connections", "sidecar", "HorizontalPodAutoscaler/wordpress", "spec/maxReplicas", 60, "more than 1000"),
    ("connections", "sidecar-and-jobs", "HorizontalPodAutoscaler/wordpress", "spec/maxReplicas", 32, "more than 1000"),
    ("connections", "daemonset", "DaemonSet/forebay", "metadata/annotations", GONE, "how many nodes"),
    ("connections", "operator-mariadb", "MariaDB/mariadb", "spec/myCnf", "[mariadb]", "nobody says"),
    ("connections", "quickstart", FOREBAY, "spec/replicas", 8, "more than 300"),
    ("rights", "quickstart", FOREBAY, f"{POD}/securityContext/runAsNonRoot", GONE, "may be root"),
    ("users", "quickstart", FOREBAY, f"{POD}/securityContext/runAsUser", GONE, "leaves its user"),
    ("rights", "quickstart", FOREBAY, f"{POD}/securityContext/seccompProfile", GONE, "no seccomp"),
    ("rights", "quickstart", FOREBAY, f"{FIRST}/securityContext/allowPrivilegeEscalation", True, "gain privileges"),
    ("rights", "quickstart", FOREBAY, f"{FIRST}/securityContext/capabilities/add", ["NET_ADMIN"], "keeps capabilities"),
    ("rights", "quickstart", FOREBAY, f"{FIRST}/securityContext/readOnlyRootFilesystem", False, "write to its image"),
    ("rights", "quickstart", FOREBAY, f"{FIRST}/resources/limits/memory", GONE, "no bound of memory"),
    ("rights", "quickstart", FOREBAY, f"{FIRST}/resources/limits/cpu", "200m", "is throttled"),
    ("rights", "quickstart", FOREBAY, f"{FIRST}/resources/requests", GONE, "requests nothing"),
    ("rights", "quickstart", FOREBAY, f"{POD}/volumes/-", {"name": "x", "hostPath": {"path": "/etc/mysql"}}, "mounts the node's"),
    ("rights", "quickstart", FOREBAY, f"{POD}/hostNetwork", True, "has hostNetwork"),
    ("rights", "daemonset-socket", SITE, f"{POD}/volumes/-", {"name": "x", "hostPath": {"path": "/run"}}, "mounts the node's /run"),
    ("rights", "daemonset-socket", "Namespace/wordpress", "metadata/labels/pod-security.kubernetes.io~1enforce", "restricted", "namespace refuses"),
    ("rights", "daemonset-socket", "DaemonSet/forebay", f"{POD}/initContainers/0/securityContext/capabilities/add/-", "SYS_ADMIN", "keeps capabilities"),
    ("rights", "daemonset-socket", "DaemonSet/forebay", f"{FIRST}/securityContext/runAsUser", 0, "may be root"),
    ("handover", "daemonset-socket", "DaemonSet/forebay", f"{FIRST}/env/1/value", "false", "cannot have the old one's socket"),
    ("handover", "daemonset-socket", "DaemonSet/forebay", "spec/updateStrategy/rollingUpdate/maxSurge", 0, "during a rollout"),
    ("databases", "daemonset-socket", SITE, f"{FIRST}/env/0/value", "localhost:/run/other.sock", "nobody on its node listens"),
    ("rights", "quickstart", FOREBAY, f"{POD}/enableServiceLinks", GONE, "every service in its environment"),
    ("images", "quickstart", MYSQL, f"{FIRST}/image", "mysql", "has no version"),
    ("images", "quickstart", MYSQL, f"{FIRST}/image", "mysql:latest", "has no version"),
    ("images", "quickstart", MYSQL, f"{FIRST}/image", "mysql:8.4", "elsewhere"),
    ("rollouts", "quickstart", SITE, "spec/strategy", {"type": "Recreate"}, "is an outage"),
    ("rollouts", "quickstart", SITE, "spec/strategy/rollingUpdate/maxUnavailable", 1, "is an outage"),
    ("rollouts", "quickstart", MYSQL, "spec/updateStrategy/rollingUpdate", {"maxUnavailable": 2}, "not to be trusted"),
    ("rollouts", "quickstart", MYSQL, "spec/persistentVolumeClaimRetentionPolicy/whenScaled", "Delete", "loses data"),
    ("rollouts", "quickstart", FOREBAY, f"{POD}/topologySpreadConstraints", [], "on one node"),
    ("rollouts", "quickstart", FOREBAY, f"{POD}/topologySpreadConstraints/0/labelSelector/matchLabels/app.kubernetes.io~1name", "mysql", "others' pods"),
    ("jobs", "quickstart", "CronJob/wordpress-cron", "spec/concurrencyPolicy", "Allow", "beside itself"),
    ("jobs", "quickstart", "CronJob/wordpress-cron", "spec/jobTemplate/spec/activeDeadlineSeconds", GONE, "for ever"),
    ("literals", "quickstart", SITE, f"{FIRST}/env/-", {"name": "WORDPRESS_DB_PASSWORD", "value": "123456"}, "in the open"),
    ("literals", "quickstart", MYSQL, f"{FIRST}/env/-", {"name": "MYSQL_ALLOW_EMPTY_PASSWORD", "value": "1"}, "MYSQL_ALLOW_EMPTY"),
    ("literals", "quickstart", MYSQL, f"{FIRST}/command/-", "--default-authentication-plugin=x", "gone since MySQL 9"),
    ("literals", "quickstart", MYSQL, f"{FIRST}/command/-", "mysql -uroot -p123 -e x", "among the arguments"),
    # who talks to whom
    ("policies", "quickstart", "NetworkPolicy/forebay", "spec/podSelector/matchLabels/app.kubernetes.io~1name", "proxy", "means nobody"),
    ("policies", "quickstart", "NetworkPolicy/forebay", "spec/ingress/0/ports/0/port", "sql", "no port 'sql'"),
    ("policies", "quickstart", "NetworkPolicy/forebay", "spec/egress/1/to/0/podSelector/matchLabels/app.kubernetes.io~1name", "db", "there are no pods"),
    ("policies", "quickstart", "NetworkPolicy/wordpress-cron", "spec/podSelector/matchLabels/app.kubernetes.io~1name", "wordpress", "may talk to anybody"),
    ("policies", "quickstart", "NetworkPolicy/mysql", "spec/policyTypes", ["Egress"], "talked to by anybody"),
    ("paths", "quickstart", SITE, "spec/template/metadata/labels/forebay-client", GONE, "cannot reach Deployment/forebay"),
    ("paths", "quickstart", SITE, "spec/template/metadata/labels/mysql-client", "true", None),
    ("paths", "quickstart", "NetworkPolicy/mysql", "spec/ingress/0/from", GONE, None),
    ("paths", "quickstart", "NetworkPolicy/wordpress", "spec/egress/1/to", GONE, None),
    ("paths", "quickstart", "NetworkPolicy/forebay", "spec/egress/1/ports/0/port", 3307, "cannot reach StatefulSet/mysql"),
    ("paths", "redis-web", "NetworkPolicy/redis-client", "spec/egress/0/ports/0/port", 6380, "cannot reach StatefulSet/redis"),
    ("databases", "quickstart", SITE, f"{FIRST}/env/0/value", "mysql", "which is not Forebay"),
    ("databases", "quickstart", SITE, f"{FIRST}/env/-", {"name": "REPLICA_DB_HOST", "value": "mysql-read"}, "splits in front"),
    ("databases", "sidecar", SITE, f"{POD}/initContainers/0/env/0/value", "/run/other.sock", "nobody in it listens"),
    ("databases", "redis-web", "Deployment/web", f"{FIRST}/env/0/value", "mysql-read", "which is not Forebay"),
    ("servers", "quickstart", "Service/mysql", WHOLE, "db", "no service 'mysql'"),
    ("servers", "quickstart", MYSQL, "metadata/name", "db", "no pod 'mysql-0.mysql'"),
    ("servers", "promoted", FOREBAY, f"{FIRST}/env/0/value", "mysql-0.mysql", "no pod 'mysql-0.mysql'"),
    ("servers", "promoted", FOREBAY, f"{FIRST}/env/0/value", "mysql-2.mysql", None),
]
# Two things wrong at once: WordPress goes past Forebay only where both policies let it.
BOTH = [
    ("paths", "quickstart", [("NetworkPolicy/mysql", "spec/ingress/0/from", GONE), ("NetworkPolicy/wordpress", "spec/egress/1/to", GONE)], "can go past Forebay"),
]
FILES = [
    ("addresses", "deploy/base/x.yaml", "server: 10.241.85.11\n", "the address 10.241.85.11"),
    ("secrets", "deploy/base/x.yaml", "apiVersion: v1\nkind: Secret\n", "a Secret in the open"),
    ("secrets", "deploy/base/x.secret.env", "a=b\n", "must not be kept"),
    ("metrics", "deploy/components/monitoring/x.yaml", "expr: forebay_lag_seconds > 3\n", "no metric forebay_lag_seconds"),
    ("metrics", "deploy/components/monitoring/x.yaml", 'expr: forebay_server_up{server_id="1"}\n', "no label 'server_id'"),
    ("metrics", "deploy/components/monitoring/x.yaml", 'expr: forebay_logins_total{result=~"known|wrong"}\n', "is never 'wrong'"),
    ("covered", "deploy/components/idle/kustomization.yaml", "kind: Component\n", "components/idle is built by nobody"),
    ("configurations", "deploy/overlays/x/forebay.toml", "[pool]\nmax_connections_per_server = 50\n", "does not say pool.wait_ms_max"),
]


def change(thing, path, value):
    *steps, last = [s.replace("~1", "/") for s in path.split("/")]
    for step in steps:
        if last == "-" and step == steps[-1]:
            thing.setdefault(step, [])
        thing = thing[int(step) if isinstance(thing, list) else step]
    if value is GONE:
        del thing[last]
    elif last == "-":
        thing.append(value)
    elif isinstance(thing, list):
        thing[int(last)] = value
    else:
        thing[last] = value


def said_of(rules, builds, rule, name, changes):
    build = Build(name, copy.deepcopy(builds[name].objects), builds[name].elsewhere)
    for thing, path, value in changes:
        found = [o for o in build.objects if name_of(o) == thing]
        change(found[0], path, value)
    return list(rules[rule](build))


def files_said(rule, root, name, text):
    """What a rule says of a copy of the folder with one file more."""
    import shutil
    import subprocess

    with tempfile.TemporaryDirectory() as copied:
        shutil.copytree(pathlib.Path(root, "deploy"), pathlib.Path(copied, "deploy"), ignore=shutil.ignore_patterns("*.secret.env", "local"))
        shutil.copy(pathlib.Path(root, "README.md"), copied)
        path = pathlib.Path(copied, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        subprocess.run(["git", "-C", copied, "init", "-q"], check=True)
        return list(rule(copied))


def main(root, rendered):
    rules = {r.__name__: r for part in (references, workloads, network, repository) for r in part.RULES}
    lines = pathlib.Path(rendered, "builds.txt").read_text().split("\n")
    builds = {n: Build.load(pathlib.Path(rendered, f"{n}.yaml"), f) for n, f in (x.split() for x in lines if x)}
    passed, failed = 0, 0

    def check(case, said, expected):
        nonlocal passed, failed
        good = not said if expected is None else any(expected in s for s in said)
        passed, failed = passed + good, failed + (not good)
        if not good:
            print(f"{case}\n  expected: {expected}\n  said: {said}")

    for rule, name, thing, path, value, expected in CASES:
        check((rule, name, thing, path), said_of(rules, builds, rule, name, [(thing, path, value)]), expected)
    for rule, name, changes, expected in BOTH:
        check((rule, name), said_of(rules, builds, rule, name, changes), expected)
    for rule, name, text, expected in FILES:
        check((rule, name), files_said(rules[rule], root, name, text), expected)
    for idle in rules.keys() - {c[0] for c in CASES + FILES}:
        check(idle, [], "a case")
    print(f"{passed} passed, {failed} failed")
    return failed == 0


if __name__ == "__main__":
    sys.exit(not main(*sys.argv[1:]))
