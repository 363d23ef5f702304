"""Rules about the files as they stand in git, before anything is rendered."""

import json
import pathlib
import re
import subprocess
import tomllib

ADDRESS = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")
# Listen everywhere, this machine, and the version of something.
NO_ADDRESS = {"0.0.0.0", "127.0.0.1"}


def files(root):
    listed = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard", "deploy"],
                            check=True, capture_output=True, text=True).stdout.split("\n")
    for name in listed:
        path = pathlib.Path(root, name)
        if name and not name.startswith(("deploy/local/", "deploy/tests/")) and path.is_file():
            yield name, path


def addresses(root):
    """An address of a network is in an .env file of an overlay, once, or nowhere."""
    for name, path in files(root):
        if path.suffix not in (".yaml", ".toml", ".conf", ".php", ".cnf", ".sh", ".env"):
            continue
        found = [a for a in ADDRESS.findall(path.read_text()) if a not in NO_ADDRESS]
        if found and path.suffix != ".env":
            yield f"{name}: the address {found[0]}"


def secrets(root):
    """No Secret with something in it is kept in git."""
    for name, path in files(root):
        if name.endswith(".secret.env"):
            yield f"{name} must not be kept"
        if path.suffix == ".yaml":
            for part in re.split(r"^---$", path.read_text(), flags=re.MULTILINE):
                if re.search(r"^kind: Secret$", part, re.MULTILINE):
                    yield f"{name}: a Secret in the open"


def metrics(root):
    """Alerts, their tests and the dashboard name metrics that Forebay has, their labels, and values of those."""
    readme = pathlib.Path(root, "README.md").read_text()
    table = readme.split("<!-- metrics -->")[1].split("<!-- /metrics -->")[0]
    known, meaning = {}, {}
    for line in table.splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if cells[0].startswith("`"):
            known[cells[0].strip("`")] = {x.strip() for x in cells[2].split(",") if x.strip()}
            meaning[cells[0].strip("`")] = set(re.findall(r"\w+", cells[3]))
    places = list(pathlib.Path(root, "deploy/components/monitoring").glob("*.*"))
    for path in places + [pathlib.Path(root, "deploy/tests/alerts.yaml")]:
        text = path.read_text()
        for found in re.finditer(r"\b((?:forebay|process)_[a-z_]+)\b(\{[^}]*\})?", text):
            name = re.sub(r"_(bucket|sum|count)$", "", found[1])
            if name not in known and found[1] not in known:
                yield f"{path.name}: there is no metric {found[1]}"
                continue
            labels = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", found[2] or "")) - {"namespace", "pod", "container", "job", "instance"}
            labels -= {"le"} if found[1].endswith("_bucket") else set()
            for label in labels - known.get(name, known.get(found[1])):
                yield f"{path.name}: {name} has no label '{label}'"
            closed = r"(?:role|target|phase|result|blame|finding|state)\s*(?:=~|!=|!~|=)\s*\\?\"([a-z_|]+)\\?\""
            for value in [v for values in re.findall(closed, found[2] or "") for v in values.split("|")]:
                if value not in meaning[name]:
                    yield f"{path.name}: {name} is never '{value}'"
    json.loads(pathlib.Path(root, "deploy/components/monitoring/forebay.json").read_text())


def covered(root):
    """Each component is part of an overlay or of a test build, and each overlay can be started from."""
    texts = [p.read_text() for folder in ("overlays", "tests/builds")
             for p in pathlib.Path(root, "deploy", folder).rglob("kustomization.yaml")]
    for component in sorted(p.name for p in pathlib.Path(root, "deploy/components").iterdir() if p.is_dir()):
        if not any(f"components/{component}\n" in text for text in texts):
            yield f"components/{component} is built by nobody"


def configurations(root):
    """Each overlay's forebay.toml replaces base's as a whole, so it says all that base's says, in its own words."""
    wanted = keys_of(pathlib.Path(root, "deploy/base/forebay.toml"))
    for path in sorted(pathlib.Path(root, "deploy/overlays").rglob("forebay.toml")):
        for key in sorted(wanted - keys_of(path)):
            yield f"{path.relative_to(root)} does not say {key}"


def keys_of(path):
    parts = tomllib.loads(path.read_text())
    return {f"{name}.{key}" for name, part in parts.items() if isinstance(part, dict) for key in part} | {
        name for name, part in parts.items() if not isinstance(part, dict)}


RULES = [addresses, secrets, metrics, covered, configurations]
