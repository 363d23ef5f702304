"""What stands in front of the pods: Forebay, WordPress, and people who use both."""

import http.client
import os
import shutil
import signal
import subprocess
import threading
import time
import urllib.request

from kubelet import until
from network import NODE, Service

WORDPRESS = "10.99.250.80"


class Forebay:
    """One process on the node, with the configuration of deploy/base and the account of the Secret."""

    def __init__(self, program, deploy, folder, names, accounts):
        self.words = [program, "run", "--config", str(deploy / "base" / "forebay.toml")]
        self.log = open(folder / "logs" / "forebay", "a")
        names.table["forebay"] = [NODE]
        os.makedirs("/run/secrets")
        os.symlink(accounts, "/run/secrets/mysql-accounts")
        self.start()

    def start(self, *flags):
        self.process = subprocess.Popen([*self.words, *flags], stdout=self.log, stderr=self.log)

    def end(self):
        self.process.kill()
        self.process.wait()

    def ready(self):
        try:
            return urllib.request.urlopen("http://127.0.0.1:9090/readyz", timeout=2).status == 200
        except OSError:
            return False

    def metric(self, start):
        """The sum of a metric's lines that begin so."""
        text = urllib.request.urlopen("http://127.0.0.1:9090/metrics", timeout=5).read().decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(start))


class WebPod:
    """A WordPress pod: PHP's own web server with an address of its own; the site's folder is shared."""

    def __init__(self, network, site):
        self.space, self.address = network.join("wordpress")
        self.network, self.leaving = network, False
        words = ["nsenter", f"--net=/run/netns/{self.space}", "setpriv", "--reuid=www-data", "--regid=www-data",
                 "--clear-groups", "php", "-d", "sendmail_path=/bin/true", "-d", "memory_limit=256M",
                 "-d", "opcache.enable_cli=1", "-d", "display_errors=0", "-d", "log_errors=1", "-d", "error_log=/dev/stderr",
                 "-S", "0.0.0.0:8080", "-t", str(site.folder / "site"), str(site.folder / "router.php")]
        self.process = subprocess.Popen(words, env=site.env, start_new_session=True, stdout=site.log, stderr=site.log)

    def ready(self):
        """The readiness probe: PHP answers."""
        if self.leaving:
            return False
        try:
            return get(self.address, "/readme.html", 8080, timeout=2) is not None
        except OSError:
            return False

    def end(self, pre_stop_s, requests):
        """Leaves the Service first. With a delay, what it is doing then is done, as Apache does it; without
        one it is gone before all have heard."""
        self.leaving = True
        time.sleep(pre_stop_s)
        if pre_stop_s:
            until(lambda: requests() == 0, 30)
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait()
        self.network.leave(self.space)


class Site:
    def __init__(self, deploy, folder, network, password):
        self.folder, self.network, self.pods = folder / "wordpress", network, []
        self.visits = deploy / "local" / "lib" / "visit.sh"
        self.log = open(folder / "logs" / "wordpress", "a")
        source = os.environ.get("WORDPRESS_FILES", "/usr/share/wordpress")
        # Debian's package is full of links into other packages
        self.folder.mkdir()
        subprocess.run(["cp", "-rL", source, str(self.folder / "site")], check=True)
        shutil.copy(deploy / "local" / "wp-config.php", self.folder / "site")
        shutil.copy(deploy / "local" / "router.php", self.folder)
        (self.folder / "site/wp-content/uploads").mkdir(exist_ok=True)
        subprocess.run(["chown", "-R", "www-data", str(self.folder / "site/wp-content")], check=True)
        self.env = {
            "PATH": os.environ["PATH"], "PHP_CLI_SERVER_WORKERS": "4", "WORDPRESS_SALT": os.urandom(16).hex(),
            "WORDPRESS_URL": f"http://{WORDPRESS}", "WORDPRESS_DB_HOST": "forebay", "WORDPRESS_DB_NAME": "wordpress",
            "WORDPRESS_DB_USER": "wordpress", "WORDPRESS_DB_PASSWORD": password,
        }
        self.service = Service(WORDPRESS, 80, lambda: [(p.address, 8080) for p in self.pods if p.known_ready])
        threading.Thread(target=self.probe, daemon=True).start()

    def probe(self):
        while True:
            for pod in list(self.pods):
                pod.known_ready = pod.ready()
            time.sleep(0.1)

    def scale(self, count, pre_stop_s=1.5):
        while len(self.pods) > count:
            self.remove(self.pods[-1], pre_stop_s)
        while len(self.pods) < count:
            self.add()
        return True

    def add(self):
        pod = WebPod(self.network, self)
        pod.known_ready = False
        self.pods.append(pod)
        assert until(lambda: pod.known_ready and (pod.address, 8080) in self.service.heard, 30), "WordPress does not start"

    def remove(self, pod, pre_stop_s):
        pod.known_ready, pod.leaving = False, True
        pod.end(pre_stop_s, lambda: self.service.open.get((pod.address, 8080), 0))
        self.pods.remove(pod)

    def roll(self, pre_stop_s):
        """A rolling update: one more, then one less, until all are new."""
        for old in list(self.pods):
            self.add()
            self.remove(old, pre_stop_s)

    def visit(self, *words):
        """One of the visits in deploy/local/lib/visit.sh; True when the page says what it should."""
        script = f'folder=$1 WORDPRESS=$2; source "$3"; RANDOM=1; shift 3; {VISIT_STATE} "$@"'
        return subprocess.run(["bash", "-c", script, "visit", str(self.folder), WORDPRESS, str(self.visits), *words],
                              stdout=self.log, stderr=self.log).returncode == 0

    def page(self, path="/"):
        try:
            return get(WORDPRESS, path, 80, timeout=60)
        except (OSError, http.client.HTTPException):
            return None


# Each visit is a shell of its own: the post's number and the words stay the same from one to the next.
VISIT_STATE = """mark=podsim post_title="Water over the dam podsim" post_text="It feeds many turbines (podsim)." comment_text="I was here (podsim)."
[ ! -e "$folder/post" ] || post=$(cat "$folder/post")
keep_post() { publish && echo "$post" >"$folder/post"; }
"""


def get(host, path, port, timeout):
    """The page, or None when it is not 200."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
        return body if answer.status == 200 else None
    finally:
        connection.close()


class Visitors:
    """Pages asked for all the time; counts those that come whole."""

    def __init__(self, site, words, count=3):
        self.site, self.words, self.good, self.bad, self.slowest_s, self.ending = site, words, 0, 0, 0, False
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.visit, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def visit(self):
        while not self.ending:
            began = time.monotonic()
            whole = self.words in (self.site.page() or "")
            with self.lock:
                self.slowest_s = max(self.slowest_s, time.monotonic() - began)
                self.good, self.bad = self.good + whole, self.bad + (not whole)

    def end(self):
        self.ending = True
        for thread in self.threads:
            thread.join()
        return self.good, self.bad


class Load:
    """PHP workers that write and read through Forebay; what they were told, and when."""

    KINDS = ["write", "write", "read", "read"]
    serial = 0

    def __init__(self, here, folder, password, kinds=KINDS):
        Load.serial += 1
        self.stop = folder / f"load{Load.serial}.stop"
        self.workers = []
        for number, kind in enumerate(kinds):
            output = open(folder / f"load{Load.serial}.{number}", "w+")
            words = ["php", str(here / "load.php"), kind, f"{Load.serial}-{number}", "forebay", "wordpress", password,
                     "wordpress", str(self.stop)]
            self.workers.append((subprocess.Popen(words, stdout=output, stderr=output), output))

    def lines(self, kind):
        found = []
        for _, output in self.workers:
            output.seek(0)
            found += [line.split(" ", 4) for line in output.read().splitlines() if line.startswith(kind + " ")]
        return sorted(found, key=lambda words: words[1])

    def acked_since(self, moment):
        return [words for words in self.lines("acked") if float(words[1]) > moment]

    def end(self):
        self.stop.touch()
        for process, _ in self.workers:
            process.wait(60)
        acked = self.lines("acked")
        self.acked, self.longest = [words[2] for words in acked], max((float(words[3]) for words in acked), default=0)
        self.errors = [words[2:] for words in self.lines("error")]
        self.missing = self.lines("missing")
        self.reads = len(self.lines("read"))
        return self
