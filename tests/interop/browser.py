"""A person with a browser, as far as these flows need one: cookies, redirects, plain forms."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urljoin, urlsplit

import requests

from checks import CALL_S

MOST_STEPS = 30


@dataclass
class Form:
    """A form on a page."""

    action: str = ""
    fields: list[tuple[str, str]] = field(default_factory=list)
    boxes: list[str] = field(default_factory=list)
    buttons: list[tuple[str, str]] = field(default_factory=list)

    def has(self, name: str) -> bool:
        return any(name == n for n, _ in self.fields)

    def offers(self, name: str, value: str) -> bool:
        return (name, value) in self.buttons


class _Forms(HTMLParser):
    def __init__(self):
        super().__init__()
        self.forms: list[Form] = []
        self.inside: Form | None = None
        self.select: str | None = None

    def handle_starttag(self, tag, attributes):
        has = dict(attributes)
        if tag == "form":
            self.inside = Form(has.get("action") or "")
            self.forms.append(self.inside)
        elif self.inside is None:
            return
        elif tag == "input":
            self.input(has)
        elif tag == "button" and has.get("name"):
            self.inside.buttons.append((has["name"], has.get("value") or ""))
        elif tag == "select":
            self.select = has.get("name")
        elif tag == "option" and self.select and "selected" in has:
            self.inside.fields.append((self.select, has.get("value") or ""))

    def input(self, has):
        name, kind = has.get("name"), (has.get("type") or "text").lower()
        if not name:
            return
        if kind in ("checkbox", "radio"):
            self.inside.boxes.append(has.get("value") or "on")
        else:
            self.inside.fields.append((name, has.get("value") or ""))

    def handle_endtag(self, tag):
        if tag == "form":
            self.inside = None
        elif tag == "select":
            self.select = None


class Person:
    """Someone who signs in and agrees wherever a page asks for it."""

    def __init__(self, email: str, password: str, refuses: frozenset[str] = frozenset()):
        self.email = email
        self.password = password
        self.refuses = refuses
        self.session = requests.Session()
        self.session.headers["Accept-Language"] = "en"

    def visit(self, url: str, until: str | None = None) -> dict | requests.Response:
        """Follows pages from `url`. Returns the parameters that arrive at the address `until`, where nobody
        listens; or, without it, the first page that asks for nothing more."""
        method, data, origin = "GET", None, None
        for _ in range(MOST_STEPS):
            if until is not None and url.split("?")[0].split("#")[0] == until:
                return dict(data if method == "POST" else parse_qsl(urlsplit(url).query))
            headers = {"Origin": origin} if origin else {}
            answer = self.session.request(
                method, url, data=data, headers=headers, allow_redirects=False, timeout=CALL_S
            )
            if answer.is_redirect:
                method, data, origin, url = "GET", None, None, urljoin(url, answer.headers["Location"])
                continue
            if answer.status_code >= 400:
                raise AssertionError(f"{urlsplit(url).path} answered {answer.status_code}: {_words(answer.text)}")
            form = self.fill(answer.text)
            if form is None:
                if until is None:
                    return answer
                raise AssertionError(f"{urlsplit(url).path} asks for nothing: {_words(answer.text)}")
            parts = urlsplit(url)
            action, data = form
            method, origin, url = "POST", f"{parts.scheme}://{parts.netloc}", urljoin(url, action)
        raise AssertionError(f"no end after {MOST_STEPS} steps, the last at {urlsplit(url).path}")

    def fill(self, html: str) -> tuple[str, list[tuple[str, str]]] | None:
        """The form that a person would send, filled in; None when the page asks for nothing."""
        parser = _Forms()
        parser.feed(html)
        for form in parser.forms:
            if form.has("password"):
                given = {"username": self.email, "password": self.password}
                return form.action, [(name, given.get(name, value)) for name, value in form.fields]
            if form.offers("decision", "allow"):
                return form.action, [*form.fields, ("decision", "allow")]
            if form.offers("decision", "agree"):
                ticked = [("scope", box) for box in form.boxes if box not in self.refuses]
                return form.action, [*form.fields, *ticked, ("decision", "agree")]
            if form.has("code") or form.action.startswith("/login"):
                # The vendor's self-submitting answer, and our own page that leads to the company's sign-in.
                return form.action, form.fields
        return None


def _words(html: str) -> str:
    class Text(HTMLParser):
        words: list[str] = []
        quiet = False

        def handle_starttag(self, tag, attributes):
            self.quiet = tag in ("style", "script")

        def handle_endtag(self, tag):
            self.quiet = False

        def handle_data(self, data):
            if not self.quiet:
                self.words.extend(data.split())

    text = Text()
    text.words = []
    text.feed(html)
    return " ".join(text.words)[:300]
