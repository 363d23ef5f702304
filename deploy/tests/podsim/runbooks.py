"""The runbooks of deploy/README.md that take MySQL's pods, done while the site is used.

Chapters like those in main.py, which tells them. A person would use kubectl; here the same is done to
the same scripts: a Secret's files are replaced, a pod is deleted, the StatefulSet has another value.
"""

import os

from kubelet import until

# new ones, with everything in them that could be tripped over
NEW = {"replication": "r2\"epl' \\%", "clone": "cl2 $one'#", "monitor": "m2;on'itor\\"}
NAMES = {"replication": "repl", "clone": "clone", "monitor": "monitor"}


def rotate(w):
    old = {name: w.accounts[f"{name}-password"] for name in NEW}
    load = w.load_for(20, "pass")
    for name, password in NEW.items():
        w.sql(0, f"ALTER USER {NAMES[name]}@'%' IDENTIFIED BY '{quoted(password)}' RETAIN CURRENT PASSWORD")
        replace(w, name, password)
    w.check("replicas take the new password from the Secret, and nothing restarts", until(lambda: all(
        "the password for replication is another" in w.set.log(o, "keep-replication") for o in (1, 2)), 30))
    w.check("Forebay takes the monitor's", until(lambda: "certificates and passwords were read again" in forebay_log(w), 30))
    for name in NEW:
        w.sql(0, f"ALTER USER {NAMES[name]}@'%' DISCARD OLD PASSWORD")
    w.check("the old ones are refused, the new ones are right", [(w.sql(
        0, "SELECT 1", NAMES[n], "mysql-0.mysql", p), w.sql(0, "SELECT 1", NAMES[n], "mysql-0.mysql", NEW[n]))
        for n, p in old.items()] == [(None, "1")] * 3)
    hang_up(w)
    w.check("replicas log in anew and go on", until(lambda: connected(w, "repl") == 2, 20) and w.in_step(1, 2))
    w.check("Forebay's follower too", until(lambda: w.forebay.metric("forebay_follower_up") == 1, 20))
    w.set.delete(2)
    w.set.wipe(2)
    w.set.start(2)
    w.check("a replica is reseeded with them", w.set.ready(2) and w.set.log(2, "clone-mysql").splitlines()[-1].endswith("the data is there"))
    w.check("and read from", w.replicas_used(2))
    w.judge(load)
    w.set.pods[0].containers["mysql"].signal(9)
    until(lambda: not w.set.pods[0].ready, 10)
    w.check("the primary's server starts again with the new ones", w.set.ready(0) and {w.sql(
        0, "SELECT 1", NAMES[n], "mysql-0.mysql", p) for n, p in NEW.items()} == {"1"})
    w.check("and is followed", w.in_step(1, 2))


def hang_up(w):
    """Who is logged in already would never ask again."""
    ids = w.sql(0, "SELECT id FROM information_schema.processlist WHERE user IN ('repl', 'monitor')").split()
    for connection in ids:
        w.sql(0, f"KILL {connection}")


def connected(w, user):
    return int(w.sql(w.primary, f"SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{user}'") or 0)


def replace(w, name, password):
    """As the kubelet renews a Secret: by a rename."""
    place = w.set.manifest.sources["mysql-accounts"] / f"{name}-password"
    new = place.with_suffix(".new")
    new.write_text(password)
    os.chown(new, 0, w.set.manifest.user)
    new.chmod(0o440)
    new.rename(place)
    w.accounts[f"{name}-password"] = password


def quoted(text):
    return text.replace("\\", "\\\\").replace("'", "''")


def forebay_log(w):
    return (w.folder / "logs" / "forebay").read_text(errors="replace")
