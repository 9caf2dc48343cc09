"""A site's page for tests: the real app on a real encrypted store, and visitors with browsers that keep cookies."""

import re
from functools import cache
from pathlib import Path

from starlette.testclient import TestClient

from edge.page import passwords
from edge.page.app import make_app
from edge.page.page import Page
from edge.page.settings import Settings
from edge.store.connection import transaction
from edge.store.database import Database
from edge.store.exposures import Exposure, Exposures
from edge.store.staff import Staff

PASSWORD = "rumah kopi hujan"
OTHER_PASSWORD = "sepeda biru malam"
NOON = 1_795_496_400.0
"""24 November 2026, 12:00 in Jakarta."""
TODAY = int(NOON // 86400)
HOST = "jaga.sekolah.id"

hashed = cache(passwords.hashed)


class PageSite:
    """One site; `now` is its clock, and `events` is what its node was told."""

    def __init__(self, database: Database, **settings: object) -> None:
        self.now = NOON
        self.events: list[dict] = []
        certificate = {"certificate": "page.crt", "private_key": "page.key"}
        self.settings = Settings(
            database=str(database.path),
            key=database.key,
            site="SDN 1 Menteng",
            hosts=[HOST],
            **(certificate | settings),
        )
        self.database = database
        self.page = Page(self.settings, self.events.append, lambda: self.now)
        self.app = make_app(self.page)

    def close(self) -> None:
        self.page.close()

    def ask(self, question):
        """What the store says, over a connection of its own."""
        connection = self.database.connect()
        try:
            return question(connection)
        finally:
            connection.close()

    def employ(self, name: str = "sari", password: str = PASSWORD) -> None:
        self.ask(lambda store: Staff(store).add(name, hashed(password), self.now))

    def expose(self, *found: Exposure, at_least: float = 15.0) -> None:
        def write(store):
            with transaction(store):
                Exposures(store).add(found, self.now)
            Exposures(store).raise_alerts(at_least, self.now, tell=False)

        self.ask(write)

    def visitor(self, address: str = "192.168.1.5", language: str = "en", **headers: str) -> "PageVisitor":
        return PageVisitor(self.app, address, {"accept-language": language, **headers})

    def staff(self, name: str = "sari", **options: str) -> "PageVisitor":
        """A member of staff who has just signed in."""
        visitor = self.visitor(**options)
        assert visitor.sign_in(name).status_code == 303
        return visitor


class PageVisitor:
    """A browser on the site's network."""

    def __init__(self, app, address: str, headers: dict[str, str]) -> None:
        self.client = TestClient(
            app,
            base_url=f"https://{HOST}",
            client=(address, 50000),
            headers=headers,
            follow_redirects=False,
            raise_server_exceptions=False,
        )

    def get(self, path: str, **options):
        return self.client.get(path, **options)

    def send(self, path: str, page: str | None = None, *, headers: dict[str, str] | None = None, **fields: str):
        """Fill in a form of `page` (by default where it was shown) and send it."""
        token = form_token(self.get(page or "/account").text)
        return self.client.post(path, data={"form_token": token, **fields}, headers=headers)

    def sign_in(self, name: str = "sari", password: str = PASSWORD, **fields: str):
        return self.send("/sign-in", "/sign-in", name=name, password=password, **fields)


def form_token(html: str) -> str:
    return re.search(r'name="form_token" value="([0-9a-f]{64})"', html)[1]


def words(html: str) -> str:
    """What a reader of a page reads, with single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def page_folder() -> Path:
    import edge.page

    return Path(edge.page.__file__).parent
