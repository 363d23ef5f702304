"""Asks Forebay itself what it thinks of each configuration that a container of an overlay gives it: its
file and its environment. Files that it names must be mounted, and are stood in for.

    python3 deploy/tests/configuration.py RENDERED_FOLDER PROGRAM CERTIFICATE KEY PASSWORD
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lint"))
from model import Build, at

FILES = {"monitor.password_file": "password", "admin.password_file": "password", "backend.tls_ca": "certificate",
         "tls.certificate": "certificate", "tls.key": "key"}


def containers(rendered):
    for line in pathlib.Path(rendered, "builds.txt").read_text().split("\n"):
        if line:
            name, folder = line.split()
            build = Build.load(pathlib.Path(rendered, f"{name}.yaml"), folder)
            for pod in build.pods():
                if pod.forebay():
                    yield build, pod, pod.forebay()


def problems(build, pod, container, program, stand_ins):
    """What is wrong with one container's configuration."""
    arguments = container["args"]
    file = arguments[arguments.index("--config") + 1]
    folders = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
    volume = next(v for v in pod.spec["volumes"] if v["name"] == folders.get(str(pathlib.Path(file).parent)))
    text = build.find("ConfigMap", at(volume, "configMap", "name"))["data"].get(pathlib.Path(file).name)
    if text is None:
        yield f"{file} is not mounted"
        return
    settings = build.configuration(pod, container)
    environment = {v["name"]: v.get("value", "") for v in container.get("env") or [] if v["name"].startswith("FOREBAY__")}
    for key, kind in FILES.items():
        if key in settings:
            if str(pathlib.Path(settings[key]).parent) not in folders:
                yield f"{settings[key]} ({key}) is not mounted"
            environment[f"FOREBAY__{key.upper().replace('.', '__')}"] = stand_ins[kind]
    if "unix" in settings and str(pathlib.Path(settings["unix"]).parent) not in folders:
        yield f"{settings['unix']} cannot be made: its folder is not mounted"
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    if not settings["admin.http"].endswith(f":{ports['admin']}"):
        yield f"the admin port is not {ports['admin']}"
    if "mysql" in ports and not settings["listen"].endswith(f":{ports['mysql']}"):
        yield f"the MySQL port is not {ports['mysql']}"
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as written:
        written.write(text)
        written.flush()
        asked = subprocess.run([program, "check", "--config", written.name], env={"PATH": os.environ["PATH"], **environment},
                               capture_output=True, text=True, check=False)
    if asked.returncode:
        yield asked.stderr.strip()


def main(rendered, program, certificate, key, password):
    stand_ins = {"certificate": certificate, "key": key, "password": password}
    passed = failed = 0
    seen = {}
    for build, pod, container in containers(rendered):
        known = json.dumps([build.configuration(pod, container), container], sort_keys=True)
        if known in seen:
            continue
        seen[known] = build.name
        found = list(problems(build, pod, container, program, stand_ins))
        passed, failed = passed + (not found), failed + bool(found)
        for said in found:
            print(f"{build.name}: {pod.name}: {said}")
    print(f"{passed} passed, {failed} failed")
    return failed == 0 and passed > 0


if __name__ == "__main__":
    sys.exit(not main(*sys.argv[1:]))
