"""A guest book in one file: Django, a table in MySQL, a counter of visits in Redis.

GET /guestbook shows the last entries, POST /guestbook (field `text`) adds one and answers with the same
list. It knows one database address, Forebay's. python3 -m guestbook migrate makes its table.
"""

import os
import pathlib
import sys

import pymysql

# Django asks for the driver that PyMySQL stands in for.
pymysql.version_info = (2, 2, 7, "final", 0)
pymysql.install_as_MySQLdb()

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connection, models, transaction
from django.http import JsonResponse
from django.urls import path


def secret(variable):
    """What the file holds that the environment names."""
    name = os.environ.get(variable)
    return pathlib.Path(name).read_text().strip() if name else ""


settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[],
    SECRET_KEY=secret("GUESTBOOK_KEY_FILE") or os.urandom(16).hex(),
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.mysql",
            "HOST": os.environ.get("DATABASE_HOST", "forebay"),
            "PORT": os.environ.get("DATABASE_PORT", "3306"),
            "USER": os.environ.get("DATABASE_USER", "wordpress"),
            "PASSWORD": secret("DATABASE_PASSWORD_FILE"),
            "NAME": os.environ.get("DATABASE_NAME", "wordpress"),
            "CONN_MAX_AGE": 60,
            "CONN_HEALTH_CHECKS": True,
            "OPTIONS": {"charset": "utf8mb4"},
        }
    },
    CACHES={
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            # the first takes writes, the others are read from
            "LOCATION": [
                f"redis://:{secret('REDIS_PASSWORD_FILE')}@{host}"
                for host in os.environ.get("REDIS_HOSTS", "redis-0.redis:6379,redis-read:6379").split(",")
            ],
        }
    },
)
django.setup()


class Entry(models.Model):
    """One line of the book."""

    text = models.CharField(max_length=200)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "guestbook"
        db_table = "guestbook_entry"


def guestbook(request):
    if request.method == "POST":
        with transaction.atomic():
            Entry.objects.create(text=request.POST["text"][:200])
    entries = list(Entry.objects.order_by("-id").values_list("text", flat=True)[:20])
    return JsonResponse({"entries": entries, "visits": count_visit()})


def count_visit():
    """A number that may be lost: the page does not depend on it."""
    from django.core.cache import cache

    try:
        cache.add("visits", 0, None)
        return cache.incr("visits")
    except Exception:
        return None


def alive(_request):
    return JsonResponse({"alive": True})


urlpatterns = [path("guestbook", guestbook), path("livez", alive)]
application = get_wsgi_application()


def migrate():
    if Entry._meta.db_table not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(Entry)


if __name__ == "__main__" and sys.argv[1:] == ["migrate"]:
    migrate()
