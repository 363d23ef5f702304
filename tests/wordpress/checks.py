"""What people do with a site, one after the other, each look at it through another Forebay than the one before.

A check is true when the page that came back says so: a status of 200 alone proves nothing. Each
begins with replicas that hold everything, and sees nothing of what follows that is not its own.
"""

import html
import json
import re
import threading
import time
from contextlib import contextmanager

from stage import Visitor, until

CHECKS = []
PASSWORD = "everyday-1!"


def check(words, with_redis=False):
    """Adds a check to the list: true is good, and so is nothing else."""

    def add(work):
        CHECKS.append((words, with_redis, work))
        return work

    return add


class World:
    """The site, who uses it, and words that nobody has used before."""

    def __init__(self, site):
        self.site = site
        self.number = 0
        self.admin = Visitor(site)
        self.products = []

    def mark(self):
        self.number += 1
        return f"mark{self.number:03}x{time.time_ns() % 10**6:06}"

    def visitor(self):
        return Visitor(self.site)

    def install(self):
        """WordPress, the shop, and what the checks stand on."""
        page = self.admin.get("/wp-admin/install.php?step=2", {
            "weblog_title": "Everyday", "user_name": "admin", "admin_password": PASSWORD, "admin_password2": PASSWORD,
            "pw_weak": "on", "admin_email": "admin@example.com", "blog_public": "0", "language": ""})
        assert "WordPress has been installed" in page, page[:500]
        assert log_in(self.admin, "admin", PASSWORD)
        assert activate(self.admin, "shop/shop.php")
        save_general(self.admin, users_can_register="1")
        self.products = [self.product(1000) for _ in range(3)]

    def warm_up(self):
        """Each Forebay has learned the account and reads from both replicas."""
        for proxy in self.site.proxies:
            until("readers", lambda: (self.visitor().get("/"), proxy.metric("forebay_server_up", 'role="reader"'))[1] == 2)
        before = [proxy.metric("forebay_route_total", 'target="replica"') for proxy in self.site.proxies]
        until("reads on replicas", lambda: (self.visitor().get("/"), all(
            proxy.metric("forebay_route_total", 'target="replica"') > old for proxy, old in zip(self.site.proxies, before)))[1])

    @contextmanager
    def before(self):
        """What a check stands on is done at the primary, and then known to all."""
        self.site.take_primary()
        yield
        self.site.settle()
        self.site.take_proxies()

    def repair(self):
        """The shop is open again, whatever a check has left."""
        with self.before():
            if "items" not in self.visitor().shop("cart"):
                activate(self.admin, "shop/shop.php")

    def product(self, stock):
        return int(self.visitor().shop(f"product&name=Lamp&stock={stock}")["product"])


def log_in(visitor, user, password):
    visitor.get("/wp-login.php")
    form = {"log": user, "pwd": password, "testcookie": "1", "redirect_to": visitor.site.url + "/wp-admin/profile.php"}
    page = visitor.get("/wp-login.php", form)
    return 'id="your-profile"' in page


def is_logged_in(visitor):
    return 'id="your-profile"' in visitor.get("/wp-admin/profile.php")


class Refused(Exception):
    """What the editor was told instead of an answer."""


def hidden(page, name):
    """A hidden field of a form."""
    found = re.search(rf'name=["\']{name}["\'] value=["\']([^"\']*)["\']', page)
    return found.group(1) if found else ""


def save_general(admin, **changes):
    """The page of general settings, as a browser sends it; the page that comes back."""
    page = admin.get("/wp-admin/options-general.php")
    form = {"option_page": "general", "action": "update", "_wpnonce": hidden(page, "_wpnonce"),
            "_wp_http_referer": "/wp-admin/options-general.php", "blogname": "Everyday", "blogdescription": "",
            "siteurl": admin.site.url, "home": admin.site.url, "new_admin_email": "admin@example.com",
            "users_can_register": "1", "default_role": "subscriber", "timezone_string": "UTC", "date_format": "Y-m-d",
            "time_format": "H:i", "start_of_week": "1", "WPLANG": ""}
    return admin.get("/wp-admin/options.php", form | changes)


def activate(admin, plugin, action="activate"):
    page = admin.get("/wp-admin/plugins.php")
    link = re.search(rf'href="(plugins\.php\?action={action}&amp;plugin={re.escape(plugin).replace("/", "(?:/|%2F)")}[^"]*)"', page)
    assert link, f"no link to {action} {plugin}"
    page = admin.get("/wp-admin/" + html.unescape(link.group(1)))
    return f"Plugin {action}d." in page


def api(admin, path, form=None):
    """The REST interface, as the editor uses it."""
    nonce = admin.get("/wp-admin/admin-ajax.php?action=rest-nonce")
    page = admin.get(f"/index.php?rest_route={path}", form, {"X-WP-Nonce": nonce})
    if admin.status not in (200, 201):
        raise Refused(f"{admin.status} {path} {page[:200]}")
    return json.loads(page)


def publish(admin, title, **more):
    return api(admin, "/wp/v2/posts", {"title": title, "content": f"All of {title}.", "status": "publish"} | more)["id"]


@check("a log-in is known on the next page")
def _(world):
    return log_in(world.visitor(), "admin", PASSWORD)


@check("a cookie is worth nothing once its owner has logged out")
def _(world):
    leaver = world.visitor()
    with world.before():
        assert log_in(leaver, "admin", PASSWORD)
    thief, page = leaver.twin(), leaver.get("/wp-admin/profile.php")
    leaver.get(html.unescape(re.search(r'href="([^"]*action=logout[^"]*)"', page).group(1)))
    return not is_logged_in(thief)


@check("a changed password closes the account to who has the old one's cookie")
def _(world):
    owner, mark = world.visitor(), world.mark()
    account = {"username": mark, "email": f"{mark}@example.com", "password": "old-1!", "roles": "subscriber"}
    with world.before():
        user = api(world.admin, "/wp/v2/users", account)
        assert log_in(owner, mark, "old-1!")
    api(world.admin, f"/wp/v2/users/{user['id']}", {"password": "new-1!"})
    return not is_logged_in(owner) and log_in(world.visitor(), mark, "new-1!")


@check("the editor finds the draft that it has just begun")
def _(world):
    page = world.admin.get("/wp-admin/post-new.php")
    number = re.search(r'"id":(\d+)[^}]*"status":"auto-draft"|name=\'post_ID\' value=\'(\d+)\'|\?post=(\d+)', page)
    draft = next(part for part in number.groups() if part)
    return api(world.admin, f"/wp/v2/posts/{draft}&context=edit").get("status") == "auto-draft"


@check("a draft that is saved is read as it was saved")
def _(world):
    mark = world.mark()
    post = api(world.admin, "/wp/v2/posts", {"title": mark, "status": "draft"})["id"]
    api(world.admin, f"/wp/v2/posts/{post}", {"content": f"Text of {mark}."})
    return mark in api(world.admin, f"/wp/v2/posts/{post}&context=edit")["content"]["raw"]


@check("who saves twice, the second time from what was read, loses nothing")
def _(world):
    mark = world.mark()
    with world.before():
        post = publish(world.admin, mark)
    for word in ("one", "two", "three"):
        text = api(world.admin, f"/wp/v2/posts/{post}&context=edit")["content"]["raw"]
        api(world.admin, f"/wp/v2/posts/{post}", {"content": f"{text} {word}"})
    world.site.settle()
    return "one two three" in api(world.admin, f"/wp/v2/posts/{post}&context=edit")["content"]["raw"]


@check("a post that is published is on the front page")
def _(world):
    mark = world.mark()
    publish(world.admin, mark)
    return mark in world.visitor().get("/")


@check("a post that is published has a page of its own")
def _(world):
    mark = world.mark()
    post = publish(world.admin, mark)
    return f"All of {mark}." in world.visitor().get(f"/?p={post}")


@check("the list of posts shows the new title")
def _(world):
    old, new = world.mark(), world.mark()
    with world.before():
        post = publish(world.admin, old)
    api(world.admin, f"/wp/v2/posts/{post}", {"title": new})
    page = world.admin.get("/wp-admin/edit.php")
    titles = re.findall(r'class="row-title"[^>]*>([^<]*)<', page)
    return new in titles and old not in titles


@check("a post in the bin is off the list")
def _(world):
    mark = world.mark()
    with world.before():
        post = publish(world.admin, mark)
    nonce = world.admin.get("/wp-admin/admin-ajax.php?action=rest-nonce")
    world.admin.get(f"/index.php?rest_route=/wp/v2/posts/{post}&_method=DELETE", {}, {"X-WP-Nonce": nonce})
    return mark not in world.admin.get("/wp-admin/edit.php") and mark not in world.visitor().get("/")


@check("a category that was just made has its first post")
def _(world):
    mark = world.mark()
    category = api(world.admin, "/wp/v2/categories", {"name": mark})["id"]
    post = publish(world.admin, mark, categories=category)
    return f"?p={post}" in world.visitor().get(f"/?cat={category}")


@check("settings are shown as they were saved")
def _(world):
    mark = world.mark()
    page = save_general(world.admin, blogname=mark)
    return "Settings saved." in page and f'value="{mark}"' in page


@check("the next visitor sees the site's new title")
def _(world):
    mark = world.mark()
    save_general(world.admin, blogname=mark)
    return mark in world.visitor().get("/")


@check("a setting that is put back is put back")
def _(world):
    before, after = world.mark(), world.mark()
    with world.before():
        save_general(world.admin, blogdescription=before)
    save_general(world.admin, blogdescription=after)
    # WordPress writes nothing if it believes that the old value stands.
    save_general(world.admin, blogdescription=before)
    world.site.settle()
    return f'value="{before}"' in world.admin.get("/wp-admin/options-general.php")


@check("who comments sees the comment, and may say it only once")
def _(world):
    mark = world.mark()
    with world.before():
        post = publish(world.admin, mark)
    form = {"comment_post_ID": post, "comment_parent": "0", "comment": f"So says {mark}"}
    shown = f"So says {mark}" in world.admin.get("/wp-comments-post.php", form)
    world.admin.get("/wp-comments-post.php", form)
    return shown and world.admin.status == 409


@check("a name is registered only once")
def _(world):
    mark = world.mark()
    first = world.visitor()
    first.get("/wp-login.php?action=register", {"user_login": mark, "user_email": f"{mark}@example.com"})
    page = world.visitor().get("/wp-login.php?action=register", {"user_login": mark, "user_email": f"{mark}b@example.com"})
    return "checkemail=registered" in first.address and "already registered" in page


@check("a password is reset as soon as somebody is registered")
def _(world):
    mark, visitor = world.mark(), world.visitor()
    visitor.get("/wp-login.php?action=register", {"user_login": mark, "user_email": f"{mark}@example.com"})
    visitor.get("/wp-login.php?action=lostpassword", {"user_login": mark, "redirect_to": ""})
    if "checkemail=confirm" not in visitor.address:
        return False
    link = re.search(r"http\S+action=rp\S+", world.site.letters(f"{mark}@example.com")[-1]).group(0)
    page = visitor.get(link)
    visitor.get("/wp-login.php?action=resetpass", {"rp_key": hidden(page, "rp_key"), "pass1": "reset-1!", "pass2": "reset-1!", "pw_weak": "on"})
    return log_in(visitor, mark, "reset-1!")


@check("cron runs what is due")
def _(world):
    mark = world.mark()
    world.visitor().shop(f"schedule&mark={mark}")
    # One visit starts cron, another request does the work: it must find the first one's lock.
    world.visitor().get("/")
    try:
        until("the event has run", lambda: world.visitor().shop("ran").get("ran") == mark, 6)
        return True
    except TimeoutError:
        return False


@check("a plugin that is switched off and on is so for everybody at once")
def _(world):
    try:
        off = activate(world.admin, "shop/shop.php", "deactivate")
        gone = "items" not in world.visitor().shop("cart")
        on = activate(world.admin, "shop/shop.php")
        return off and gone and on and world.visitor().shop("cart").get("items") == "0"
    finally:
        world.repair()


@check("three things laid into a cart quickly are in it")
def _(world):
    buyer = world.visitor()
    items = [buyer.shop(f"add&product={product}").get("items") for product in world.products]
    return items == ["1", "2", "3"]


@check("what is ordered is confirmed, and the cart is empty")
def _(world):
    buyer = world.visitor()
    with world.before():
        buyer.shop(f"add&product={world.products[0]}")
    token = buyer.shop("checkout")["token"]
    thanks = buyer.shop("place", {"token": token})
    return thanks.get("status") == "wc-pending" and thanks.get("method") == "bacs" and buyer.shop("cart")["items"] == "0"


@check("an order that is sent twice is one order")
def _(world):
    buyer = world.visitor()
    with world.before():
        buyer.shop(f"add&product={world.products[0]}")
        token = buyer.shop("checkout")["token"]
    orders = [buyer.shop("place", {"token": token}).get("order") for _ in range(2)]
    world.site.settle()
    return orders[0] == orders[1] and buyer.shop("orders")["orders"] == "1"


@check("the last one is sold once, and nobody is shown it again")
def _(world):
    buyer = world.visitor()
    with world.before():
        product = world.product(1)
        buyer.shop(f"add&product={product}")
        token = buyer.shop("checkout")["token"]
    buyer.shop("place", {"token": token})
    return world.visitor().shop(f"add&product={product}").get("refused") == "sold out"


@check("the bank finds the order, and the buyer sees that it is paid")
def _(world):
    buyer = world.visitor()
    with world.before():
        buyer.shop(f"add&product={world.products[0]}")
        token = buyer.shop("checkout")["token"]
    order = buyer.shop("place", {"token": token}).get("order")
    paid = world.visitor().shop(f"paid&order={order}").get("order") == order
    return paid and buyer.shop(f"received&order={order}").get("status") == "wc-processing"


@check("a cache does not keep an old list of posts", with_redis=True)
def _(world):
    mark, visitor = world.mark(), world.visitor()
    visitor.get("/")
    publish(world.admin, mark)
    visitor.get("/")
    world.site.settle()
    return mark in visitor.get("/") and any(mark in post["title"]["rendered"] for post in api(world.admin, "/wp/v2/posts"))


@check("a cache that is emptied after a change does not keep old settings", with_redis=True)
def _(world):
    mark, visitor = world.mark(), world.visitor()
    save_general(world.admin, blogname=mark)
    visitor.shop("flush")
    visitor.get("/")
    world.site.settle()
    return mark in visitor.get("/")


@check("a request that was under way when a post was published puts nothing old into the cache", with_redis=True)
def trap_a5(world):

    mark, visitor, said = world.mark(), world.visitor(), {}
    visitor.shop(f"found&mark={mark}")
    slow = threading.Thread(target=lambda: said.update(visitor.shop(f"late&mark={mark}")))
    slow.start()
    # Asked over HTTP, PHP's server might let one worker wait for the other's answer.
    waits = world.site.content / "uploads/waits"
    until("it waits", lambda: waits.exists() and waits.read_text() == mark)
    publish(world.admin, mark)
    slow.join()
    world.site.settle()
    return said.get("changed") == "yes" and world.visitor().shop(f"found&mark={mark}")["found"] == "1"
