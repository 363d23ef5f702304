"""Checks each rendered object against the schemas of Kubernetes 1.34 to 1.37, fields that are not known
included; custom resources against those of their projects.

    python3 deploy/tests/schemas.py RENDERED_FOLDER CRDS_FOLDER

Kubernetes' own come from kubernetes-validate. Those of cert-manager, Traefik, the Gateway API and the
Prometheus operator come from packages in CRDS_FOLDER, which crds.mjs asks. For operators that publish no
package, operators.yaml lists the fields that are used here: it holds typing errors, not their truth.
"""

import functools
import json
import pathlib
import subprocess
import sys

import jsonschema
import kubernetes_validate
import yaml

VERSIONS = ("1.34", "1.35", "1.36", "1.37")
HERE = pathlib.Path(__file__).parent
# Asking reads and parses the file each time.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)


def objects(rendered):
    """Each different object once, with the builds that have it."""
    found = {}
    for path in sorted(pathlib.Path(rendered).glob("*.yaml")):
        for thing in yaml.safe_load_all(path.read_text()):
            if thing:
                found.setdefault(json.dumps(thing, sort_keys=True), []).append(path.stem)
    return [(json.loads(text), builds) for text, builds in found.items()]


def is_own(thing):
    """Whether Kubernetes itself defines it."""
    group = thing["apiVersion"].rpartition("/")[0]
    return "." not in group or (group.endswith(".k8s.io") and not group.startswith("gateway."))


def of_kubernetes(thing):
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(thing, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{version}: {'.'.join(map(str, error.path))}: {error.message[:200]}"
        except kubernetes_validate.SchemaNotFoundError:
            yield f"{version} has no {thing['apiVersion']} {thing['kind']}"


def of_operators(thing):
    schema = yaml.safe_load((HERE / "operators.yaml").read_text()).get(f"{thing['apiVersion']}/{thing['kind']}")
    if schema is None:
        yield f"nobody knows {thing['apiVersion']} {thing['kind']}"
        return
    for error in jsonschema.Draft202012Validator(schema).iter_errors(thing["spec"]):
        yield f"spec.{'.'.join(map(str, error.path))}: {error.message[:200]}"


def of_projects(things, crds):
    """What crds.mjs says of each; None for a kind that no package defines."""
    asked = subprocess.run(["node", HERE / "crds.mjs", crds], input=json.dumps(things), text=True,
                           capture_output=True, check=False)
    if asked.returncode:
        raise SystemExit(asked.stderr)
    return json.loads(asked.stdout)


def main(rendered, crds):
    passed = failed = 0
    all_objects = objects(rendered)
    custom = [(t, b) for t, b in all_objects if not is_own(t)]
    said = [(t, b, list(of_kubernetes(t))) for t, b in all_objects if is_own(t)]
    for (thing, builds), answer in zip(custom, of_projects([t for t, _ in custom], crds), strict=True):
        said.append((thing, builds, list(of_operators(thing)) if answer is None else answer))
    for thing, builds, problems in said:
        passed, failed = passed + (not problems), failed + bool(problems)
        for problem in problems:
            print(f"{', '.join(builds)}: {thing['kind']}/{thing['metadata']['name']}: {problem}")
    print(f"{len(said)} objects, {len(custom)} of them custom resources, on {', '.join(VERSIONS)}")
    print(f"{passed} passed, {failed} failed")
    return failed == 0 and passed > 0


if __name__ == "__main__":
    sys.exit(not main(*sys.argv[1:]))
