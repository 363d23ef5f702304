"""What a cluster does with a StatefulSet, as far as the pods' scripts can tell.

Reads the manifest itself: init containers in order and until they succeed, sidecars, restarts, probes
with their thresholds, volumes, rights, grace. Pods come and go as podManagementPolicy says: all at
once, or one after the other; a rollout is always one by one, the highest first.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import yaml

from container import confined

# A cluster waits 10 s and doubles it.
RESTART_S = 0.5
# Until a pod is ready, on a machine that has other things to do too.
PATIENCE_S = 300
# What the image of MySQL has beside its own programs, or less.
TOOLS = """bash sh [ base64 basename cat chmod cp date dirname env false head id ls mkdir mv rm rmdir
    sleep sync tail test timeout touch tr true""".split()
PROGRAMS = ["mysqld", "mysql", "mysqladmin", "mysqldump"]


class Image:
    """MySQL's programs and few others, in a folder that is the containers' PATH."""

    def __init__(self, folder, mysql):
        self.mysql, programs = mysql, folder / "image"
        programs.mkdir()
        for tool in TOOLS:
            (programs / tool).symlink_to("/usr/bin/" + tool)
        for program in PROGRAMS:
            file = programs / program
            file.write_text(runner(program))
            file.chmod(0o755)
        self.mounts = [[str(programs), "/image", True], [str(mysql), "/mysql", True]]
        self.env = {"PATH": "/image"}


def runner(program):
    """Which defaults are read has to stay the first argument."""
    places = ""
    if program == "mysqld":
        places = " ".join(f"--{word}=/mysql/usr/{path}" for word, path in [
            ("basedir", ""), ("plugin-dir", "lib/mysql/plugin"),
            ("lc-messages-dir", "share/mysql"), ("character-sets-dir", "share/mysql/charsets")])
    return f'#!/bin/sh\nfirst=$1\nshift\nexec /mysql/run {program} "$first" {places} "$@"\n'


class Manifest:
    """The StatefulSet, and what it mounts, out of the component's own files."""

    def __init__(self, component, folder, accounts):
        self.folder, self.sources, self.settings = folder, {}, {}
        kustomization = yaml.safe_load((component / "kustomization.yaml").read_text())
        documents = [d for r in kustomization["resources"] for d in yaml.safe_load_all((component / r).read_text())]
        self.set = next(d["spec"] for d in documents if d["kind"] == "StatefulSet")
        self.pod = self.set["template"]["spec"]
        self.user = self.pod["securityContext"]["runAsUser"]
        for config in kustomization["configMapGenerator"]:
            for file in config.get("envs", []):
                self.settings[config["name"]] = variables((component / file).read_text())
            files = {Path(f).name: (component / f).read_text() for f in config.get("files", [])}
            self.sources[config["name"]] = self.write(config["name"], files, 0o644)
        self.sources["mysql-accounts"] = self.write("mysql-accounts", accounts, 0o440)

    def write(self, name, files, mode):
        place = self.folder / "config" / name
        place.mkdir(parents=True)
        for file, text in files.items():
            (place / file).write_text(text)
            os.chown(place / file, 0, self.user)
            (place / file).chmod(mode)
        return place

    def change(self, name, value):
        """For pods that are made from now on: the ConfigMap's name has a hash."""
        config = self.settings["mysql-settings"]
        assert name in config
        self.settings["mysql-settings"] = {**config, name: value}

    def source(self, volume, pod):
        """Where a pod's volume is on this machine."""
        for described in self.pod["volumes"]:
            if described["name"] == volume:
                if "emptyDir" in described:
                    return self.owned(pod.folder / volume)
                return self.sources[described.get("configMap", {}).get("name") or described["secret"]["secretName"]]
        assert any(c["metadata"]["name"] == volume for c in self.set["volumeClaimTemplates"]), volume
        return self.owned(self.folder / "volumes" / pod.name)

    def owned(self, place):
        if not place.exists():
            place.mkdir(parents=True)
            os.chown(place, self.user, self.user)
            # as a new disk has it
            if place.parent.name == "volumes":
                (place / "lost+found").mkdir()
        return place


def variables(text):
    """NAME=VALUE lines."""
    return dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))


class Container:
    """One process tree in namespaces of its own, its command being their first process."""

    def __init__(self, pod, described):
        self.pod, self.name = pod, described["name"]
        self.described, self.process, self.restarts = described, None, 0

    def start(self):
        pod, manifest, image = self.pod, self.pod.cluster.manifest, self.pod.cluster.image
        root = pod.folder / f"root-{self.name}"
        root.mkdir(exist_ok=True)
        mounts = [[str(manifest.source(m["name"], pod)), m["mountPath"], m.get("readOnly", False)]
                  for m in self.described["volumeMounts"]]
        rights = self.described["securityContext"]
        assert rights["capabilities"] == {"drop": ["ALL"]} and not rights["allowPrivilegeEscalation"]
        self.spec = {
            "root": str(root), "mounts": image.mounts + pod.cluster.network.mounts + mounts,
            "env": {**image.env, "HOSTNAME": pod.name, **self.env()},
            "user": manifest.user, "read_only": rights["readOnlyRootFilesystem"], "command": self.described["command"],
        }
        file = pod.folder / f"{self.name}.json"
        file.write_text(json.dumps(self.spec))
        log = open(pod.cluster.folder / "logs" / f"{pod.name}.{self.name}", "a")
        self.process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{pod.space}", "unshare", "--mount", "--uts", "--ipc", "--pid", "--fork",
             "--kill-child", "sh", "-c", 'hostname "$0" && exec /usr/bin/python3 -B "$@"', pod.name,
             str(Path(__file__).parent / "container.py"), str(file)],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        log.close()
        return self

    def env(self):
        """As the pod was made with."""
        maps = [self.pod.settings[s["configMapRef"]["name"]] for s in self.described.get("envFrom", [])]
        return {n: v for m in maps for n, v in m.items()} | {e["name"]: e["value"] for e in self.described.get("env", [])}

    def first(self):
        """The number of the container's first process as seen from here."""
        try:
            pid = self.process.pid
            return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        except (OSError, IndexError, AttributeError):
            return None

    def signal(self, number):
        if (pid := self.first()) is not None:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def lives(self):
        return self.process is not None and self.process.poll() is None

    def end(self, grace):
        """TERM, and KILL if it does not listen. Says how long it took."""
        began = time.monotonic()
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.process.wait()
        return time.monotonic() - began

    def run(self, command, timeout):
        """A probe. True when it ended with 0 in time."""
        if (pid := self.first()) is None:
            return False
        words = ["/usr/bin/nsenter", "--target", str(pid), "--mount", "--uts", "--net", "--ipc", "--pid", "--wd=/", "--",
                 *confined({**self.spec, "command": command})]
        try:
            return subprocess.run(words, env=self.spec["env"], timeout=timeout, capture_output=True).returncode == 0
        except subprocess.TimeoutExpired:
            return False


class Pod:
    def __init__(self, cluster, ordinal):
        self.cluster, self.ordinal, self.name = cluster, ordinal, f"mysql-{ordinal}"
        self.space, self.address = cluster.network.join(self.name)
        self.settings = dict(cluster.manifest.settings)
        self.folder = cluster.folder / "pods" / self.space
        self.folder.mkdir(parents=True)
        self.containers, self.sidecars, self.init = {}, [], None
        self.ready, self.leaving, self.flaps, self.failures = False, False, 0, 0
        self.thread = threading.Thread(target=self.live, daemon=True)
        self.thread.start()

    def live(self):
        described = self.cluster.manifest.pod
        for one in described["initContainers"]:
            if one.get("restartPolicy") == "Always":
                self.sidecars.append(self.keep(one))
            elif not self.complete(one):
                return
        for one in described["containers"]:
            self.keep(one)
        self.watch(described["containers"][0])

    def complete(self, described):
        while not self.leaving:
            self.init = Container(self, described).start()
            code = self.init.process.wait()
            if code == 0:
                return True
            self.failures += 1
            time.sleep(RESTART_S)
        return False

    def keep(self, described):
        container = self.containers[described["name"]] = Container(self, described)
        if not self.leaving:
            container.start()
            threading.Thread(target=self.restart, args=(container,), daemon=True).start()
        return container

    def restart(self, container):
        while True:
            container.process.wait()
            if self.leaving:
                return
            if container not in self.sidecars:
                self.ready = False
            time.sleep(RESTART_S)
            if self.leaving:
                return
            container.restarts += 1
            container.start()

    def watch(self, described):
        """Startup, then readiness and liveness, for as long as the pod is there."""
        container, generation = self.containers[described["name"]], -1
        counts, due = {}, {}
        while not self.leaving:
            if container.restarts != generation:
                generation, started, counts = container.restarts, False, {"readiness": 0, "liveness": 0, "startup": 0}
                due = dict.fromkeys(counts, 0)
            time.sleep(0.1)
            for kind in ["readiness", "liveness"] if started else ["startup"]:
                probe = described[kind + "Probe"]
                if time.monotonic() < due[kind] or container.restarts != generation:
                    continue
                good = container.run(probe["exec"]["command"], probe.get("timeoutSeconds", 1))
                # a cluster asks every few seconds; until it is ready, here more often
                due[kind] = time.monotonic() + (probe["periodSeconds"] if good or started and self.ready else 0.3)
                counts[kind] = 0 if good else counts[kind] + 1
                bad = counts[kind] >= probe.get("failureThreshold", 3)
                if kind == "startup":
                    started = good
                if kind == "readiness" and (good or bad) and container.restarts == generation:
                    self.flaps += self.ready and not good
                    self.ready = good
                elif kind != "readiness" and bad:
                    container.signal(signal.SIGKILL)

    def all(self):
        return [c for c in [*self.containers.values(), self.init] if c is not None and c.lives()]

    def kill(self):
        """As a node that loses its power."""
        self.leaving, self.ready = True, False
        for container in self.all():
            container.signal(signal.SIGKILL)
        self.leave()

    def delete(self):
        """As the API does it: servers first, then sidecars, each in its grace. Says how long each took."""
        self.leaving, self.ready, grace = True, False, self.cluster.manifest.pod["terminationGracePeriodSeconds"]
        mains = [c for c in self.all() if c not in self.sidecars]
        took = {c.name: c.end(grace) for c in mains}
        took.update({c.name: c.end(grace) for c in reversed(self.sidecars) if c.lives()})
        self.leave()
        return took

    def leave(self):
        for container in self.all():
            container.process.wait()
        self.cluster.network.leave(self.space)
        self.thread.join(30)
        shutil.rmtree(self.folder, ignore_errors=True)


class StatefulSet:
    """Pods by ordinal, and their names."""

    def __init__(self, manifest, image, network, names, folder):
        self.manifest, self.image, self.network, self.names, self.folder = manifest, image, network, names, folder
        self.pods = {}
        (folder / "logs").mkdir()

    def start(self, ordinal):
        self.pods[ordinal] = Pod(self, ordinal)
        self.publish()
        return self.pods[ordinal]

    def publish(self):
        # publishNotReadyAddresses: whoever is there has its name
        living = {p.name: p.address for p in self.pods.values()}
        self.names.table.update({"mysql": list(living.values())})
        for ordinal in range(10):
            name = f"mysql-{ordinal}"
            self.names.table[f"{name}.mysql"] = [living[name]] if name in living else []

    def kill(self, ordinal):
        self.pods.pop(ordinal).kill()
        self.publish()

    def delete(self, ordinal):
        took = self.pods[ordinal].delete()
        del self.pods[ordinal]
        self.publish()
        return took

    def scale(self, count, within_s=PATIENCE_S):
        """True when it came about in time."""
        self.delete_all([o for o in sorted(self.pods, reverse=True) if o >= count])
        ordered = self.manifest.set["podManagementPolicy"] == "OrderedReady"
        for ordinal in range(count):
            if ordinal not in self.pods:
                self.start(ordinal)
            if ordered and not self.ready(ordinal, within_s=within_s):
                return False
        return self.ready(*range(count), within_s=within_s)

    def delete_all(self, ordinals):
        if self.manifest.set["podManagementPolicy"] == "OrderedReady":
            for ordinal in ordinals:
                self.delete(ordinal)
            return
        threads = [threading.Thread(target=self.delete, args=(ordinal,)) for ordinal in ordinals]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def roll(self, before=lambda ordinal: None, within_s=PATIENCE_S):
        """A rollout: pods that run the new revision are waited for, those that still run the old are
        not, so a broken one is replaced when its turn comes. Gives who came back, and how long the last
        was away."""
        back = []
        for ordinal in sorted(self.pods, reverse=True):
            before(ordinal)
            began = time.monotonic()
            self.delete(ordinal)
            self.start(ordinal)
            if not self.ready(ordinal, within_s=within_s):
                break
            back.append(ordinal)
        return back, time.monotonic() - began

    def ready(self, *ordinals, within_s=PATIENCE_S):
        return until(lambda: all(self.pods[o].ready for o in ordinals), within_s)

    def wipe(self, ordinal):
        shutil.rmtree(self.folder / "volumes" / f"mysql-{ordinal}", ignore_errors=True)

    def log(self, ordinal, container):
        file = self.folder / "logs" / f"mysql-{ordinal}.{container}"
        return file.read_text(errors="replace") if file.exists() else ""


def until(condition, within_s):
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


if __name__ == "__main__":
    sys.exit("started by run")
