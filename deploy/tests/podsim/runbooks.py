"""The runbooks of deploy/README.md that take MySQL's pods, done while the site is used.

Chapters like those in main.py, which tells them. A person would use kubectl; here the same is done to
the same scripts: a Secret's files are replaced, a pod is deleted, the StatefulSet has another value.
"""

import os
import time

from deployment import Deployment
from kubelet import until
from site_in_front import Visitors

# new ones, with everything in them that could be tripped over
NEW = {"replication": "r2\"epl' \\%", "clone": "cl2 $one'#", "monitor": "m2;on'itor\\"}
# What clients are told of a write while nobody takes any, and when the primary restarts.
READ_ONLY, PRIMARY_AWAY = ("1290",), ("1105", "1213")
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


def promote_planned(w):
    old, new = w.primary, 0 if w.primary else 1
    deploy_forebay(w)
    load, visitors = w.load_for(20, "pass"), Visitors(w.site, "Water over the dam")
    w.sql(old, "SET GLOBAL super_read_only = ON")
    stopped = time.time()
    w.check(f"mysql-{new} has all that mysql-{old} has", w.sql(
        new, f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{w.position(old)}', 60)") == "0")
    take_over(w, load, visitors, stopped, new)


def promote_another(w):
    """The primary and its volume are gone for good."""
    deploy_forebay(w)
    load, visitors = w.load_for(20, "pass"), Visitors(w.site, "Water over the dam")
    w.set.kill(0)
    stopped = time.time()
    w.set.wipe(0)
    for ordinal in (1, 2):
        w.check(f"mysql-{ordinal} has applied what it got", w.sql(ordinal, APPLIED) == "0")
    new = 1 if w.sql(1, f"SELECT GTID_SUBSET('{w.position(2)}', @@GLOBAL.gtid_executed)") == "1" else 2
    take_over(w, load, visitors, stopped, new)
    w.set.start(0)
    w.check("mysql-0 is made anew and copies the new primary",
            w.set.ready(0) and f"copying mysql-{new}" in w.set.log(0, "clone-mysql").splitlines()[-2])
    w.check("and has the same rows", w.in_step(0, 1, 2) and w.same_rows(0, 1, 2))
    w.check("Forebay reads from both replicas", w.replicas_used(2))


APPLIED = "SELECT WAIT_FOR_EXECUTED_GTID_SET(RECEIVED_TRANSACTION_SET, 60) FROM performance_schema.replication_connection_status"


def deploy_forebay(w):
    w.site.scale(2)
    if isinstance(w.forebay, Deployment):
        return
    w.forebay.end()
    w.forebay = Deployment(w.options.forebay, w.network, w.names, w.folder)
    w.forebay.configure(configuration(w, w.primary))
    w.forebay.scale(2)


def configuration(w, primary):
    """The manifest's own, with another primary."""
    text = (w.options.deploy / "base" / "forebay.toml").read_text()
    assert 'primary = "mysql-0.mysql"' in text
    return text.replace('primary = "mysql-0.mysql"', f'primary = "mysql-{primary}.mysql"')


def take_over(w, load, visitors, stopped, new):
    """What the planned one and the unplanned one have in common: Forebay first, then writes, then the pods."""
    w.check("Forebay is rolled, and cuts nobody", set(w.forebay.roll(configuration(w, new))) == {0})
    w.sql(new, "STOP REPLICA; RESET REPLICA ALL; SET GLOBAL super_read_only = OFF; SET GLOBAL read_only = OFF")
    began, w.primary = time.time(), new
    until(lambda: load.acked_since(began), 30)
    first = (load.acked_since(began) or [["", "inf"]])[0]
    w.check("writes go on", float(first[1]) - began < 3, f"they stood for {float(first[1]) - stopped:.1f} s")
    failed = len(load.lines("error"))
    w.check("its sidecar sees that it was promoted", until(lambda: "promoted by hand" in w.set.log(new, "keep-replication"), 20))
    w.set.manifest.change("MYSQL_PRIMARY", f"mysql-{new}")
    for ordinal in sorted(w.set.pods, reverse=True):
        w.check(f"mysql-{ordinal} was ready all the while", w.set.pods[ordinal].ready)
        began = time.monotonic()
        w.set.delete(ordinal)
        w.set.start(ordinal)
        w.check("and is back", w.set.ready(ordinal), f"{time.monotonic() - began:.1f} s")
    ordinals = sorted(w.set.pods)
    w.check("it alone takes writes", [w.sql(o, "SELECT @@super_read_only") for o in ordinals] == [
        "0" if o == new else "1" for o in ordinals])
    w.check("the others follow it", {w.sql(o, "SELECT HOST FROM performance_schema.replication_connection_configuration")
                                     for o in ordinals if o != new} == {f"mysql-{new}.mysql"})
    w.check("WordPress publishes", w.site.visit("publish"))
    good, bad = visitors.end()
    w.check("no visitor saw an error", good and not bad, f"{good} pages, the slowest after {visitors.slowest_s:.1f} s")
    w.judge(load, READ_ONLY + PRIMARY_AWAY, ordinals, lost=20)
    w.check("no read failed", not [e for e in load.errors if e[1] in ("read", "own", "connect")], f"{load.reads} reads")
    w.check("writes failed while nobody took them, and otherwise", True, f"{failed}, then {len(load.errors) - failed} while the primary restarted")
