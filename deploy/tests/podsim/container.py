"""One container: builds its root out of read-only parts, then becomes its command.

Started by kubelet.py inside new namespaces, with the description as a JSON file. What it mounts is
what the manifest names: a script that needs /tmp and does not say so fails here as in a cluster.
"""

import json
import os
import subprocess
import sys

FROM_MACHINE = ["passwd", "group", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "ssl"]


def main():
    with open(sys.argv[1]) as file:
        spec = json.load(file)
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", spec["root"])
    os.chdir(spec["root"])
    build(spec)
    os.makedirs("old")
    subprocess.run(["pivot_root", ".", "old"], check=True)
    os.chdir("/")
    mount("-t", "proc", "proc", "/proc")
    subprocess.run(["umount", "--lazy", "/old"], check=True)
    os.rmdir("/old")
    if spec["read_only"]:
        mount("-o", "remount,ro", "/")
    os.execve("/usr/bin/setpriv", confined(spec), spec["env"])


def build(spec):
    for name in ["usr", "dev"]:
        bind("/" + name, name, read_only=name == "usr")
    for name in ["bin", "sbin", "lib", "lib64"]:
        if os.path.islink("/" + name):
            os.symlink(os.readlink("/" + name), name)
        elif os.path.isdir("/" + name):
            bind("/" + name, name, read_only=True)
    for name in FROM_MACHINE:
        if os.path.exists("/etc/" + name):
            bind("/etc/" + name, "etc/" + name, read_only=True)
    os.makedirs("proc")
    for source, target, read_only in spec["mounts"]:
        bind(source, target.lstrip("/"), read_only)


def bind(source, target, read_only):
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        open(target, "a").close()
    mount("--rbind" if source == "/dev" else "--bind", source, target)
    if read_only:
        mount("-o", "remount,bind,ro", target)


def mount(*words):
    subprocess.run(["mount", *words], check=True)


def confined(spec):
    """The manifest's securityContext as setpriv knows it. Also used for probes."""
    user = str(spec["user"])
    return [
        "/usr/bin/setpriv", "--reuid", user, "--regid", user, "--groups", user, "--no-new-privs",
        "--bounding-set=-all", "--inh-caps=-all", "--", *spec["command"],
    ]


if __name__ == "__main__":
    main()
