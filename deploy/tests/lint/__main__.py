"""Looks at rendered overlays for what no schema can see.

    python3 deploy/tests/lint REPOSITORY RENDERED_FOLDER

RENDERED_FOLDER holds NAME.yaml for each line of `builds.txt` there: "NAME FOLDER". Counted are builds,
and the rules about files. What a rule finds and may be so stands in EXCEPTIONS, with the reason.
"""

import pathlib
import sys

import network
import references
import repository
import workloads
from model import Build

RULES = references.RULES + workloads.RULES + network.RULES
# (build or *, rule, beginning of what it says): why it may be so. One that nothing needs is a fault.
EXCEPTIONS = {
    ("quickstart", "storage", "Deployment/wordpress shares"): "one node",
    ("sidecar", "policies", "NetworkPolicy/mysql: there are no pods"): "Forebay is in WordPress' pods, which are let in as mysql-client",
    ("*", "users", "StatefulSet/nfs-server"): "Ganesha runs as root",
    ("okd", "users", ""): "the cluster picks the users",
    ("*", "rights", "StatefulSet/nfs-server"): "Ganesha runs as root with two capabilities, in a namespace of its own",
}


def unexcused(build, rule, said, used):
    for key in EXCEPTIONS:
        if key[0] in ("*", build) and key[1] == rule and said.startswith(key[2]):
            used.add(key)
            return False
    return True


def problems(rule, build, used):
    return [said for said in rule(build) if unexcused(build.name, rule.__name__, said, used)]


def load(rendered):
    lines = pathlib.Path(rendered, "builds.txt").read_text().split("\n")
    return [Build.load(pathlib.Path(rendered, f"{name}.yaml"), folder)
            for name, folder in (line.split() for line in lines if line)]


def main(root, rendered):
    passed, failed, used = 0, 0, set()
    for build in load(rendered):
        found = [f"{rule.__name__}: {said}" for rule in RULES for said in problems(rule, build, used)]
        passed, failed = passed + (not found), failed + bool(found)
        for said in found:
            print(f"{build.name}: {said}")
    for rule in repository.RULES:
        found = list(rule(root))
        passed, failed = passed + (not found), failed + bool(found)
        for said in found:
            print(f"{rule.__name__}: {said}")
    for key in EXCEPTIONS.keys() - used:
        failed += 1
        print(f"nothing needs the exception {key}")
    print(f"{passed} passed, {failed} failed")
    return failed == 0


if __name__ == "__main__":
    sys.exit(not main(*sys.argv[1:]))
