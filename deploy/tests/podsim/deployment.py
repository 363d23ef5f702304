"""Forebay's Deployment: pods with addresses of their own behind the Service `forebay`, and its rollout:
one more that is ready, one less that drains, until all have the new configuration.
"""

import os
import subprocess
import threading
import time
import urllib.request

from kubelet import until
from network import Service

ADDRESS = "10.99.250.33"
# Not the manifest's 10: here the Service hears of a pod that leaves within a third of a second.
DRAIN_DELAY_S = "2"


class Deployment:
    """Speaks as Forebay in site_in_front.py does. Counters are summed up, of gauges the least counts."""

    service = None

    def __init__(self, program, network, names, folder):
        self.program, self.network, self.folder = program, network, folder
        self.pods, self.leaving, self.serial = [], [], 0
        self.log = open(folder / "logs" / "forebay", "a")
        Deployment.service = Deployment.service or Service(ADDRESS, 3306, lambda: [])
        self.service.ready = lambda: [(p.address, 3306) for p in self.pods if p.is_ready]
        names.table["forebay"] = [ADDRESS]
        threading.Thread(target=self.probe, daemon=True).start()

    def configure(self, text):
        self.serial += 1
        self.file = self.folder / f"forebay.{self.serial}.toml"
        self.file.write_text(text)

    def probe(self):
        while self.pods is not None:
            for pod in [*self.pods]:
                pod.is_ready = pod.answers()
            time.sleep(0.1)

    def add(self):
        pod = Pod(self)
        self.pods.append(pod)
        assert until(lambda: (pod.address, 3306) in self.service.heard, 30), "Forebay does not get ready"

    def scale(self, count):
        while len(self.pods) < count:
            self.add()

    def roll(self, text):
        """Returns when the old ones have left."""
        self.configure(text)
        for old in [*self.pods]:
            self.add()
            self.pods.remove(old)
            old.process.terminate()
            self.leaving.append(old)
        codes = []
        for old in self.leaving:
            codes.append(old.process.wait(75))
            self.network.leave(old.space)
        self.leaving = []
        return codes

    def ready(self):
        return all(p.is_ready for p in self.pods)

    def metric(self, start):
        values = [p.metric(start) for p in self.pods]
        return sum(values) if "_total" in start else min(values)


class Pod:
    def __init__(self, deployment):
        self.space, self.address = deployment.network.join("forebay")
        self.is_ready = False
        self.process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.space}", deployment.program, "run", "--config", str(deployment.file)],
            env={**os.environ, "FOREBAY__DRAIN__DELAY_S": DRAIN_DELAY_S}, stdout=deployment.log, stderr=deployment.log)

    def answers(self):
        try:
            return urllib.request.urlopen(f"http://{self.address}:9090/readyz", timeout=2).status == 200
        except OSError:
            return False

    def metric(self, start):
        text = urllib.request.urlopen(f"http://{self.address}:9090/metrics", timeout=5).read().decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(start))
