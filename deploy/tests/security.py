"""Asks checkov about all rendered objects, and holds what it says against what may be so.

    python3 deploy/tests/security.py RENDERED_FOLDER CHECKOV_PACKAGES
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import yaml

# (check, beginning of the resource's name): why it may be so. One that nothing needs is a fault.
EXCEPTIONS = {
    ("CKV_K8S_11", ""): "no limit of CPU: a throttled proxy, server or page is slow for everybody behind it",
    ("CKV_K8S_15", ""): "versions are not moved, so nothing has to be fetched at each start",
    ("CKV_K8S_43", ""): "digests are of a registry, and belong into the overlay of who has one (`images:`)",
    ("CKV_K8S_40", ""): "the accounts that the official images have: 33, 999",
    ("CKV_K8S_35", "Deployment.wordpress.wordpress"): "salts; the passwords are files",
    ("CKV_K8S_35", "CronJob.wordpress.wordpress-object-cache"): "salts; the passwords are files",
    ("CKV_K8S_25", "DaemonSet.wordpress.forebay"): "with a socket on each node: it gives its folder to Forebay, and ends",
    ("CKV_K8S_22", "StatefulSet.nfs.nfs-server"): "Ganesha writes beside its exports",
    ("CKV_K8S_23", "StatefulSet.nfs.nfs-server"): "Ganesha is root",
    ("CKV_K8S_25", "StatefulSet.nfs.nfs-server"): "Ganesha reads everybody's files",
    ("CKV_K8S_37", "StatefulSet.nfs.nfs-server"): "Ganesha reads everybody's files",
    ("CKV_K8S_38", "StatefulSet.nfs.nfs-server"): "it makes volumes for claims",
}


def ask(rendered, packages):
    """What checkov finds: {(check, resource): its words}, and how many checks passed."""
    found = {}
    for path in sorted(pathlib.Path(rendered).glob("*.yaml")):
        for thing in yaml.safe_load_all(path.read_text()):
            found[json.dumps(thing, sort_keys=True)] = thing
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "all.yaml").write_text(yaml.safe_dump_all(found.values()))
        answer = subprocess.run(
            [sys.executable, "-m", "checkov.main", "--directory", folder, "--framework", "kubernetes",
             # which pods have a NetworkPolicy, the lint knows: this check reads no matchExpressions
             "--skip-check", "CKV2_K8S_6", "--skip-download", "--quiet", "--compact", "--output", "json"],
            env={**os.environ, "PYTHONPATH": packages}, capture_output=True, text=True, check=False)
    report = json.loads(answer.stdout)
    checks = report["results"]["failed_checks"]
    return {(c["check_id"], c["resource"]): c["check_name"] for c in checks}, report["summary"]["passed"]


def main(rendered, packages):
    found, good = ask(rendered, packages)
    used, failed = set(), 0
    for (check, resource), words in sorted(found.items()):
        excuse = next((e for e in EXCEPTIONS if e[0] == check and resource.startswith(e[1])), None)
        used.add(excuse)
        if excuse is None:
            failed += 1
            print(f"{resource}: {check} {words}")
    for idle in EXCEPTIONS.keys() - used:
        failed += 1
        print(f"nothing needs the exception {idle}")
    print(f"checkov: {good} checks hold, {len(found)} do not and are explained or named above")
    print(f"{int(not failed and good > 100)} passed, {failed} failed")
    return failed == 0 and good > 100


if __name__ == "__main__":
    sys.exit(not main(*sys.argv[1:]))
