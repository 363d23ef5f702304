"""The story that `run` tells: a chapter is something that happens to a cluster, and what has to hold."""

import argparse
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

import runbooks
from kubelet import Image, Manifest, StatefulSet, until
from network import Names, Network
from site_in_front import Forebay, Load, Site, Visitors

HERE = Path(__file__).parent
# with everything in them that a shell, SQL and a configuration file could trip over
ACCOUNTS = {name + "-password": word for name, word in {
    "root": "r'oot \\1", "replication": "r\"epl'#1", "clone": "cl$one\\'", "monitor": "mon#i;tor", "wordpress": "word 'press",
}.items()}
CHAPTERS = []


def chapter(words, fast=False):
    def add(function):
        CHAPTERS.append((words, fast, function))
        return function
    return add


class World:
    def __init__(self, options):
        self.options, self.folder = options, options.folder
        self.passed = self.failed = self.primary = 0
        self.accounts = dict(ACCOUNTS)
        self.network, self.names = Network(self.folder), Names()
        manifest = Manifest(options.deploy / "components" / "mysql-replicated", self.folder, ACCOUNTS)
        self.set = StatefulSet(manifest, Image(self.folder, options.mysql), self.network, self.names, self.folder)

    def check(self, words, good, note=""):
        self.passed, self.failed = self.passed + bool(good), self.failed + (not good)
        print(f"  {'ok     ' if good else 'FAILED '} {words}{f' ({note})' if note != '' else ''}", flush=True)
        return good

    def sql(self, ordinal, text, user="root", host=None, password=None):
        """As root over the socket, or as somebody over the network. None when it is refused."""
        pod = self.set.pods[ordinal]
        to = ["--host", host, "--ssl-mode=PREFERRED"] if host else ["--socket", str(pod.folder / "run" / "mysqld.sock")]
        done = subprocess.run(
            [str(self.options.mysql / "run"), "mysql", "--no-defaults", "--user", user, *to, "--connect-timeout=5", "--batch",
             "--skip-column-names", "--execute", text],
            env={"MYSQL_PWD": password or self.accounts.get(user + "-password", ""), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    def position(self, ordinal):
        return (self.sql(ordinal, "SELECT @@GLOBAL.gtid_executed") or "").replace("\\n", "").replace("\n", "")

    def in_step(self, *ordinals, within_s=30):
        """These have all that the primary has now."""
        target = self.position(self.primary)
        return target != "" and until(lambda: all(
            self.sql(o, f"SELECT GTID_SUBSET('{target}', @@GLOBAL.gtid_executed)") == "1" for o in ordinals), within_s)

    def same_rows(self, *ordinals):
        sums = {self.sql(o, "CHECKSUM TABLE wordpress.podsim, wordpress.wp_posts, wordpress.wp_options EXTENDED") for o in ordinals}
        return len(sums) == 1 and None not in sums

    def replicas_used(self, count):
        """Forebay found so many of them, wherever they are now."""
        return until(lambda: self.forebay.metric('forebay_server_up{role="reader"') == count, 20)

    def load(self, *more):
        return Load(HERE, self.folder, self.accounts["wordpress-password"], [*Load.KINDS, *more])

    def load_for(self, writes, *more):
        load = self.load(*more)
        until(lambda: len(load.lines("acked")) > writes, 30)
        return load

    def judge(self, load, errors_allowed=(), ordinals=(0, 1, 2), lost=0):
        """Whatever happened: what was acknowledged is there, once, everywhere. LOST: so many may be, at most."""
        load.end()
        self.check("every server is in step", self.in_step(*ordinals))
        acked = ",".join(f"'{i}'" for i in load.acked)
        counts = [self.sql(o, f"SELECT COUNT(*) FROM wordpress.podsim WHERE id IN ({acked})") for o in ordinals]
        missing = len(load.acked) - int(counts[0] or 0)
        self.check("each acknowledged write is on every server", load.acked and len(set(counts)) == 1 and 0 <= missing <= lost,
                   f"{len(load.acked)}, {missing} lost" if lost else len(load.acked))
        self.check("each was read back at once", not load.missing, f"{load.reads} other reads")
        strange = [e for e in load.errors if e[0] not in errors_allowed]
        self.check("no client saw an error" if not errors_allowed else f"no client saw an error but {', '.join(errors_allowed)}",
                   not strange, strange[:3] if strange else f"{len(load.errors)} of those" if errors_allowed else "")
        return load


# What clients are told of a write whose fate is unknown (1105), or that waited too long.
PRIMARY_AWAY = ("1105", "1213")


@chapter("three pods from nothing", fast=True)
def come_up(w):
    began = time.monotonic()
    w.check("they come up, all at once", w.set.scale(3), f"{time.monotonic() - began:.1f} s")
    w.check("each has the number of its ordinal", [w.sql(o, "SELECT @@server_id") for o in range(3)] == ["100", "101", "102"])
    w.check("mysql-1 copied mysql-0, and mysql-2 one of them",
            "copying mysql-0" in w.set.log(1, "clone-mysql") and "the data is there" in w.set.log(2, "clone-mysql"))
    w.check("who waited for somebody to copy was not restarted for it", w.set.pods[1].failures == w.set.pods[2].failures == 0)
    w.check("only mysql-0 takes writes", [w.sql(o, "SELECT @@super_read_only") for o in range(3)] == ["0", "1", "1"])
    w.check("rows are logged whole, and each commit is on disk", {w.sql(
        o, "SELECT CONCAT_WS(' ', @@binlog_format, @@binlog_row_image, @@innodb_flush_log_at_trx_commit, @@sync_binlog, @@gtid_mode)")
        for o in range(3)} == {"ROW FULL 1 1 ON"})
    w.check("no account is without a password",
            w.sql(0, "SELECT COUNT(*) FROM mysql.user WHERE authentication_string = '' AND account_locked = 'N'") == "0")
    w.check("root is not let in over the network", w.sql(0, "DO 1", host="mysql-0.mysql") is None)
    w.check("monitor is", w.sql(0, "SELECT 1", user="monitor", host="mysql-0.mysql") == "1")
    w.check("replication is encrypted", w.sql(1, "SHOW REPLICA STATUS") is not None and w.sql(
        0, "SELECT COUNT(*) FROM performance_schema.threads t JOIN performance_schema.status_by_thread s USING (THREAD_ID) "
           "WHERE t.PROCESSLIST_USER = 'repl' AND s.VARIABLE_NAME = 'Ssl_cipher' AND s.VARIABLE_VALUE <> ''") == "2")


@chapter("WordPress in front of them, through Forebay", fast=True)
def serve(w):
    w.forebay = Forebay(w.options.forebay, w.options.deploy, w.folder, w.names, w.set.manifest.sources["mysql-accounts"])
    w.check("Forebay is ready", until(w.forebay.ready, 30))
    w.site = Site(w.options.deploy, w.folder, w.network, ACCOUNTS["wordpress-password"])
    w.site.scale(1)
    w.check("WordPress installs itself", w.site.visit("install_site"))
    w.check("the administrator logs in", w.site.visit("log_in"))
    w.check("a post is published", w.site.visit("keep_post"))
    w.check("the front page shows it", w.site.visit("front_page_has_post"))
    w.sql(0, "CREATE TABLE wordpress.podsim (id VARCHAR(64) PRIMARY KEY)")
    w.check("every server has it all", w.in_step(1, 2) and w.same_rows(0, 1, 2))


@chapter("a replica is killed", fast=True)
def kill_replica(w):
    load = w.load_for(20)
    began = time.monotonic()
    server = w.set.pods[2].containers["mysql"]
    server.signal(9)
    until(lambda: not w.set.pods[2].ready, 10)
    w.check("its server is back in the same pod", w.set.ready(2), f"{time.monotonic() - began:.1f} s")
    began = time.monotonic()
    w.set.kill(1)
    w.set.start(1)
    w.check("another is back as a new pod, with a new address", w.set.ready(1), f"{time.monotonic() - began:.1f} s")
    w.check("with the data that it had", "there is data" in w.set.log(1, "clone-mysql").splitlines()[-1])
    w.check("Forebay reads from both again", w.replicas_used(2))
    w.judge(load)


@chapter("the primary is killed and comes back elsewhere", fast=True)
def kill_primary(w):
    load = w.load_for(20)
    before, address = w.forebay.metric("forebay_misroute_total"), w.set.pods[0].address
    began = time.monotonic()
    w.set.kill(0)
    w.set.start(0)
    w.check("it is back, with a new address", w.set.ready(0) and w.set.pods[0].address != address, f"{time.monotonic() - began:.1f} s")
    back = time.time()
    until(lambda: load.acked_since(back), 30)
    first = (load.acked_since(back) or [["", "inf"]])[0]
    w.check("writes go on within 3 s", float(first[1]) - back < 3, f"after {float(first[1]) - back:.1f} s")
    w.check("WordPress publishes again", w.site.visit("publish"))
    w.check("replicas never left their Service", w.set.pods[1].flaps == w.set.pods[2].flaps == 0)
    w.judge(load, PRIMARY_AWAY)
    w.check("no reader noticed", not [e for e in load.errors if e[1] in ("read", "own")], f"{load.reads} reads")
    w.check("no write reached a replica", w.forebay.metric("forebay_misroute_total") == before)


@chapter("one more joins", fast=True)
def join_one(w):
    load = w.load()
    began = time.monotonic()
    w.check("mysql-3 copies mysql-2 and follows", w.set.scale(4) and "copying mysql-2" in w.set.log(3, "clone-mysql"),
            f"{time.monotonic() - began:.1f} s")
    w.judge(load, ordinals=(0, 1, 2, 3))
    w.check("it has the same rows", w.same_rows(0, 3))
    took = w.set.delete(3)
    w.check("told to end, server and sidecar do so at once", took["mysql"] < 15 and took["keep-replication"] < 1,
            ", ".join(f"{n} {s:.1f} s" for n, s in took.items()))


chapter("passwords are changed", fast=True)(runbooks.rotate)


@chapter("three become one and three again")
def scale_down_and_up(w):
    load = w.load()
    w.check("one is left", w.set.scale(1) and sorted(w.set.pods) == [0])
    w.check("WordPress works on the primary alone", w.site.visit("front_page_has_post") and w.site.visit("publish"))
    began = time.monotonic()
    w.check("three again, with their old volumes", w.set.scale(3), f"{time.monotonic() - began:.1f} s")
    w.check("Forebay reads from both", w.replicas_used(2))
    w.check("they copied nobody again", all(w.set.log(o, "clone-mysql").splitlines()[-1].endswith("there is data") for o in (1, 2)))
    w.judge(load)


@chapter("two join at once")
def join_two(w):
    for ordinal in (3, 4):
        w.set.wipe(ordinal)
    load = w.load()
    began = time.monotonic()
    w.set.start(3), w.set.start(4)
    w.check("both are there", w.set.ready(3, 4, within_s=300), f"{time.monotonic() - began:.1f} s")
    w.judge(load, ordinals=(0, 1, 2, 3, 4))
    w.check("with the same rows", w.same_rows(0, 3, 4))
    w.check("and three again", w.set.scale(3))


@chapter("a copy is cut short")
def torn_clone(w):
    w.set.wipe(3)
    volume, copies = w.folder / "volumes" / "mysql-3", w.set.log(3, "clone-mysql").count("copying")
    w.set.start(3)
    w.check("a copy is under way", until(lambda: (volume / "new" / "ibdata1").exists() or (volume / "new").exists(), 60))
    w.set.kill(3)
    w.check("nothing of it counts as data", not (volume / "mysql").exists() and (volume / "new").exists())
    w.set.start(3)
    w.check("the next pod copies anew", w.set.ready(3) and w.set.log(3, "clone-mysql").count("copying") == copies + 2)
    w.check("and has the same rows", w.in_step(3) and w.same_rows(0, 3))
    w.check("nothing is left over", not (volume / "new").exists() and not (volume / "seed").exists())
    w.set.scale(3)


@chapter("the primary's volume is lost")
def wiped_primary(w):
    load = w.load_for(20)
    w.in_step(1, 2)
    w.set.kill(0)
    load.end()
    w.set.wipe(0)
    w.set.start(0)
    w.check("it does not start empty beside its replicas",
            until(lambda: w.set.pods[0].failures >= 2, 30) and "a peer has data" in w.set.log(0, "clone-mysql"))
    w.check("pages are still read", w.site.visit("front_page_has_post"))
    strangers = w.forebay.metric("forebay_reads_unfenced_total")
    w.check("and counted as what they are", strangers > 0, f"{strangers:.0f}")
    # its node is gone, while there is no mysql-0
    began = time.monotonic()
    w.set.kill(2)
    w.set.start(2)
    w.check("a replica that dies meanwhile comes back without it", w.set.ready(2), f"{time.monotonic() - began:.1f} s")
    w.check("and is read from", w.replicas_used(2) and w.site.visit("front_page_has_post"))
    most = max((1, 2), key=lambda o: int(w.sql(o, "SELECT COUNT(*) FROM wordpress.podsim")))
    w.set.delete(0)
    w.set.manifest.change("MYSQL_BOOTSTRAP", f"mysql-{most}")
    began = time.monotonic()
    w.set.start(0)
    w.check("told to, it copies the replica that has most", w.set.ready(0) and f"copying mysql-{most}" in w.set.log(0, "clone-mysql"),
            f"{time.monotonic() - began:.1f} s")
    w.set.manifest.change("MYSQL_BOOTSTRAP", "auto")
    w.check("and takes writes, nobody's replica", w.sql(0, "SELECT @@super_read_only") == "0" and w.sql(0, "SHOW REPLICA STATUS") == "")
    acked = ",".join(f"'{i}'" for i in load.acked)
    w.check("what was acknowledged and had reached a replica is there",
            int(w.sql(0, f"SELECT COUNT(*) FROM wordpress.podsim WHERE id IN ({acked})")) >= len(load.acked) - 20, len(load.acked))
    w.judge(w.load_for(20), PRIMARY_AWAY)


@chapter("an empty primary is not followed")
def empty_primary(w):
    for ordinal in (2, 1, 0):
        w.set.delete(ordinal)
    volume, aside = w.folder / "volumes" / "mysql-0", w.folder / "aside"
    volume.rename(aside)
    w.set.start(0)
    w.check("with nobody there to ask, it starts empty", w.set.ready(0))
    w.set.start(1)
    w.check("a replica with data sees that", until(lambda: "THE PRIMARY LACKS" in w.set.log(1, "keep-replication"), 60))
    w.check("does not follow, is not ready, and keeps its rows", not w.set.pods[1].ready and w.sql(
        1, "SELECT COUNT(*) FROM performance_schema.replication_connection_status WHERE SERVICE_STATE = 'ON'") == "0"
        and int(w.sql(1, "SELECT COUNT(*) FROM wordpress.wp_posts")) > 1)
    w.set.delete(1), w.set.delete(0)
    shutil.rmtree(volume)
    aside.rename(volume)
    w.check("with the volume back, all is as it was", w.set.scale(3) and w.in_step(1, 2) and w.same_rows(0, 1, 2))


@chapter("MySQL is rolled: 2, 1, 0")
def roll_mysql(w):
    load = w.load()
    back, away_s = w.set.roll(lambda _: w.replicas_used(2))
    w.check("all are back", back == [2, 1, 0])
    w.judge(load, PRIMARY_AWAY)
    w.check("no reader noticed", not [e for e in load.errors if e[1] in ("read", "own")], f"{load.reads} reads")
    # a machine with much else to do may take longer than pool.wait_ms_max
    told = [e for e in load.errors if e[0] != "1213" and "utcome" not in " ".join(e)]
    w.check("writes waited for the primary", not told or away_s > 25, f"it was away for {away_s:.1f} s, they waited {load.longest:.1f} s")


chapter("the primary is gone for good, another is promoted")(runbooks.promote_another)
chapter("mysql-0 is promoted again, as planned")(runbooks.promote_planned)


@chapter("WordPress: three pods, one, three", fast=True)
def scale_wordpress(w):
    w.site.scale(3)
    before = w.site.page()
    visitors = Visitors(w.site, "Water over the dam")
    w.site.scale(1)
    one = w.site.page()
    w.site.scale(3)
    good, bad = visitors.end()
    w.check("the same page throughout", before and one == before == w.site.page())
    w.check("no visitor saw an error", not bad, f"{good} pages")


@chapter("WordPress is rolled", fast=True)
def roll_wordpress(w):
    visitors = Visitors(w.site, "Water over the dam")
    # a machine with much else to do serves few pages, and a rollout may fall between them
    for _ in range(5):
        w.site.roll(pre_stop_s=0)
        if visitors.bad:
            break
    good, bad = visitors.end()
    w.check("without preStop some requests fail", bad, f"{100 * good / (good + bad):.1f} % of {good + bad} were well")
    visitors = Visitors(w.site, "Water over the dam")
    w.site.roll(pre_stop_s=1.5)
    good, bad = visitors.end()
    w.check("with it none does", good and not bad, f"{100 * good / (good + bad):.2f} % of {good + bad} were well")


def main():
    parser = argparse.ArgumentParser()
    for name in ["deploy", "mysql", "folder"]:
        parser.add_argument("--" + name, type=Path, required=True)
    parser.add_argument("--forebay", default="target/release/forebay")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    world, began = World(options), time.monotonic()
    for words, fast, tell in CHAPTERS:
        first = tell in (come_up, serve)
        if options.fast and not fast or not first and options.only not in words:
            continue
        print(words, flush=True)
        started = time.monotonic()
        try:
            tell(world)
        except Exception:
            traceback.print_exc()
            world.check("the chapter comes to its end", False)
        print(f"  {time.monotonic() - started:.0f} s", flush=True)
        if first and world.failed:
            break
    print(f"{time.monotonic() - began:.0f} s")
    print(f"{world.passed} passed, {world.failed} failed")
    return world.failed != 0


if __name__ == "__main__":
    sys.exit(main())
