"""The site under test: servers that replicate late, two Forebays, WordPress that takes them in turn.

Not a test by itself: everyday and workload begin here. Everything ends with the program.
"""

import http.cookiejar
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import deque
from pathlib import Path

HERE = Path(__file__).resolve().parent
STACK = str(HERE.parent.parent / "deploy/local/stack")
REPLICAS = ("replica1", "replica2")
# An account that may read the primary's log; its password is in the environment.
WATCHER = "[monitor]\nuser = 'watcher'\n"


def until(what, is_true, seconds=30):
    """Waits for something to come true."""
    end = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.02)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Relay:
    """Stands between the primary and its replicas: what the primary says arrives `delay` seconds late."""

    def __init__(self, to):
        self.delay = 0.0
        self.to = to
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            replica, _ = self.listener.accept()
            host, port = self.to.split(":")
            primary = socket.create_connection((host, int(port)))
            for side in (replica, primary):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            queue, ready = deque(), threading.Condition()
            for work in (
                lambda: self.pass_on(replica, primary),
                lambda: self.gather(primary, queue, ready),
                lambda: self.deliver(replica, queue, ready),
            ):
                threading.Thread(target=work, daemon=True).start()

    @staticmethod
    def pass_on(source, sink):
        try:
            while block := source.recv(65536):
                sink.sendall(block)
        except OSError:
            pass
        sink.close()

    @staticmethod
    def gather(primary, queue, ready):
        block = b"-"
        while block:
            try:
                block = primary.recv(65536)
            except OSError:
                block = b""
            with ready:
                queue.append((time.monotonic(), block))
                ready.notify()

    def deliver(self, replica, queue, ready):
        while True:
            with ready:
                ready.wait_for(lambda: queue)
                since, block = queue.popleft()
            while (left := since + self.delay - time.monotonic()) > 0:
                time.sleep(min(left, 0.005))
            try:
                replica.sendall(block)
            except OSError:
                block = b""
            if not block:
                replica.close()
                return


class Forebay:
    """One running proxy."""

    def __init__(self, program, env, log, arguments, config=""):
        self.address = f"127.0.0.1:{free_port()}"
        self.admin = f"127.0.0.1:{free_port()}"
        self.log = log
        file = log.with_suffix(".toml")
        file.write_text(config)
        self.process = subprocess.Popen(
            [program, "run", "--config", str(file), "--listen", self.address, "--admin-http", self.admin, "--primary", env["PRIMARY"],
             "--replicas", f"{env['REPLICA1']},{env['REPLICA2']}", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(log, "ab"),
            env=os.environ | ({"FOREBAY__MONITOR__PASSWORD": "watcher"} if config else {}))
        until("Forebay is ready", self.is_ready)

    def is_ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"Forebay ended: {self.log.read_text()[-2000:]}")
        try:
            return urllib.request.urlopen(f"http://{self.admin}/readyz", timeout=5).status == 200
        except OSError:
            return False

    def metric(self, name, *labels):
        """The sum of all values of a metric whose labels have all of these."""
        text = urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=5).read().decode()
        series = (line.rsplit(" ", 1) for line in text.splitlines() if re.match(name + r"[{ ]", line))
        return sum(float(value) for key, value in series if all(label in key for label in labels))

    def end(self):
        self.process.kill()
        self.process.wait()


class Site:
    """The whole of it, in a folder of its own."""

    def __init__(self, db, program, extra=()):
        self.program = program
        self.folder = Path(tempfile.mkdtemp(prefix="forebay-site."))
        self.proxies = []
        self.redis = None
        cnf = [word for line in extra for word in ("--cnf", line)]
        self.stack("up", "--db", db, "--wordpress", "--owner", str(os.getpid()), *cnf)
        lines = (self.folder / "env").read_text().splitlines()
        self.env = {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}
        self.url = f"http://{self.env['WORDPRESS']}"
        self.relay = Relay(self.env["PRIMARY"])
        grants = "REPLICATION SLAVE, REPLICATION CLIENT, PROCESS"
        self.stack("sql", "primary", f"CREATE USER watcher IDENTIFIED BY 'watcher'; GRANT {grants} ON *.* TO watcher")
        self.follow_through_relay()
        self.prepare_files()

    def stack(self, command, *words):
        """Runs a command of the launcher on this stack; its output."""
        done = subprocess.run([STACK, command, str(self.folder), *words], text=True, capture_output=True)
        if done.returncode:
            raise RuntimeError(f"stack {command} {words}: {done.stderr}")
        return done.stdout.removesuffix("\n")

    def follow_through_relay(self):
        change = {
            "mariadb": ("STOP SLAVE", "CHANGE MASTER TO MASTER_PORT={}", "START SLAVE"),
            "mysql97": ("STOP REPLICA", "CHANGE REPLICATION SOURCE TO SOURCE_PORT={}", "START REPLICA"),
        }[self.env["DB"]]
        for node in REPLICAS:
            self.stack("sql", node, "; ".join(change).format(self.relay.port))
        self.stack("sync")

    def prepare_files(self):
        """The fixtures, and a configuration that takes the Forebays in turn and lets cron run."""
        self.content = self.folder / "wordpress/site/wp-content"
        config = self.content.parent / "wp-config.php"
        text = config.read_text().replace("define('DISABLE_WP_CRON', true);", "")
        config.write_text((HERE / "turn.php").read_text() + text.removeprefix("<?php"))
        shutil.copytree(HERE / "shop", self.content / "plugins/shop")
        (self.content / "mu-plugins").mkdir()
        shutil.copy(HERE / "mail.php", self.content / "mu-plugins")

    def start_proxies(self, *arguments, count=2):
        for proxy in self.proxies:
            proxy.end()
        # One sees the primary's log, the others have to ask for each read.
        self.proxies = [
            Forebay(self.program, self.env, self.folder / f"proxy{number}.log", arguments, "" if number else WATCHER)
            for number in range(count)]
        self.take_proxies()

    def take_proxies(self):
        """In turn."""
        (self.content / "uploads/hosts").write_text(",".join(proxy.address for proxy in self.proxies))

    def take_primary(self):
        """Without any proxy."""
        (self.content / "uploads/hosts").write_text(self.env["PRIMARY"])

    def settle(self):
        """The replicas catch up with all there is, and are as late as before from then on."""
        late, self.relay.delay = self.relay.delay, 0.0
        self.stack("sync")
        self.relay.delay = late

    def start_redis(self):
        """An object cache for the site, for as long as it is wanted."""
        path = self.content / "uploads/redis.sock"
        owner = "www-data" if os.getuid() == 0 else None
        self.redis = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "777", "--save", "", "--dir", "/"],
            stdout=subprocess.DEVNULL, user=owner)
        until("Redis answers", path.exists)
        shutil.copy(HERE / "object-cache.php", self.content)

    def stop_redis(self):
        (self.content / "object-cache.php").unlink()
        self.redis.kill()
        self.redis.wait()
        (self.content / "uploads/redis.sock").unlink(missing_ok=True)

    def letters(self, to):
        """The texts of all letters to somebody, the last one last."""
        files = sorted((self.content / "uploads/mail").glob("*"))
        texts = [file.read_text() for file in files]
        return [text for text in texts if text.startswith(f"To: {to}\n")]

    def end(self):
        for proxy in self.proxies:
            proxy.end()
        if self.redis:
            self.redis.kill()
        self.stack("down")


class Visitor:
    """A browser: it keeps cookies and follows redirects."""

    def __init__(self, site):
        self.site = site
        self.jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self.jar))
        self.status = 0
        self.address = ""

    def twin(self):
        """Another browser with the same cookies."""
        twin = Visitor(self.site)
        for cookie in self.jar:
            twin.jar.set_cookie(cookie)
        return twin

    def get(self, path, form=None, headers=None):
        """The page, whatever its status; with a form it is sent."""
        data = None if form is None else urllib.parse.urlencode(form).encode()
        url = path if path.startswith("http") else self.site.url + path
        request = urllib.request.Request(url, data, headers or {})
        try:
            answer = self.opener.open(request, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            self.status, self.address = answer.status, answer.url
            return answer.read().decode(errors="replace")

    def shop(self, query, form=None):
        """A page of the shop, as names and values."""
        lines = self.get(f"/?shop={query}", form).splitlines()
        return dict(line.split(": ", 1) for line in lines if ": " in line)
