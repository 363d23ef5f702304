"""The cluster's network: a bridge, an address for each pod that starts, names, and Services.

A Service is a relay that hands each connection to one of its ready pods, and hears late of those that
come and go, as kube-proxy does.
"""

import os
import random
import socket
import struct
import subprocess
import threading
import time

NODE = "10.99.0.1"
DOMAIN = "wordpress.svc.cluster.local"


def ip(*words):
    subprocess.run(["ip", *words], check=True)


class Network:
    def __init__(self, folder):
        self.next = 10
        self.lock = threading.Lock()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
        ip("link", "set", "lo", "up")
        # An address of its own: else it takes the least of its ports', another one when a pod comes or goes,
        # and who knows the node by the one before is not heard for a minute.
        ip("link", "add", "cluster", "address", "02:00:00:00:00:01", "type", "bridge")
        ip("address", "add", NODE + "/16", "dev", "cluster")
        ip("link", "set", "cluster", "up")
        self.files = {
            "/etc/resolv.conf": f"nameserver {NODE}\nsearch {DOMAIN} svc.cluster.local cluster.local\noptions ndots:5 timeout:2\n",
            "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
            "/etc/hosts": "127.0.0.1 localhost\n",
        }
        self.mounts = []
        for target, text in self.files.items():
            source = folder / os.path.basename(target)
            source.write_text(text)
            subprocess.run(["mount", "--bind", str(source), os.path.realpath(target)], check=True)
            self.mounts.append([str(source), target, True])

    def join(self, name):
        """A network namespace with an address that nobody had before."""
        with self.lock:
            number, self.next = self.next, self.next + 1
        space, outside, address = f"{name}.{number}", f"pod{number}", f"10.99.{number // 250}.{number % 250}"
        ip("netns", "add", space)
        ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", space)
        ip("link", "set", outside, "master", "cluster", "up")
        ip("-n", space, "link", "set", "lo", "up")
        ip("-n", space, "address", "add", address + "/16", "dev", "eth0")
        ip("-n", space, "link", "set", "eth0", "up")
        return space, address

    def leave(self, space):
        # its link goes with its last process; the address is gone at once
        subprocess.run(["ip", "-n", space, "link", "set", "eth0", "down"], check=False)
        subprocess.run(["ip", "netns", "delete", space], check=False)


class Names:
    """A name server: answers for the domain from a table, says NXDOMAIN to everything else."""

    def __init__(self):
        self.table = {}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((NODE, 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            question, sender = self.socket.recvfrom(4096)
            try:
                self.socket.sendto(self.answer(question), sender)
            except (OSError, IndexError, struct.error):
                pass

    def answer(self, question):
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode().lower())
            at += 1 + question[at]
        kind = struct.unpack(">H", question[at + 1:at + 3])[0]
        name = ".".join(labels)
        known = self.table.get(name[: -len(DOMAIN) - 1], None) if name.endswith("." + DOMAIN) else None
        addresses = list(known) if known and kind == 1 else []
        flags = 0x8580 if known else 0x8583
        out = question[:2] + struct.pack(">HHHHH", flags, 1, len(addresses), 0, 0) + question[12:at + 5]
        for address in addresses:
            out += b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 5, 4) + socket.inet_aton(address)
        return out


class Service:
    """`address:port`; `ready` says who serves, as (host, port)s, and is heard LAG seconds late."""

    LAG = 0.3

    def __init__(self, address, port, ready):
        ip("address", "add", address + "/32", "dev", "cluster")
        self.ready, self.heard = ready, []
        # connections that each of them has now
        self.open, self.lock = {}, threading.Lock()
        self.socket = socket.create_server((address, port), backlog=512)
        threading.Thread(target=self.listen, daemon=True).start()
        threading.Thread(target=self.hear, daemon=True).start()

    def hear(self):
        while True:
            now = self.ready()
            time.sleep(self.LAG)
            self.heard = now

    def listen(self):
        while True:
            client, _ = self.socket.accept()
            threading.Thread(target=self.carry, args=(client,), daemon=True).start()

    def carry(self, client):
        try:
            chosen = random.choice(self.heard)
        except IndexError:
            client.close()
            return
        self.count(chosen, 1)
        try:
            server = socket.create_connection(chosen, timeout=5)
            server.settimeout(None)
            threading.Thread(target=pump, args=(client, server), daemon=True).start()
            pump(server, client)
        except OSError:
            client.close()
        finally:
            self.count(chosen, -1)

    def count(self, pod, change):
        with self.lock:
            self.open[pod] = self.open.get(pod, 0) + change


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    try:
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
