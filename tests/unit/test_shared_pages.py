"""What every page of a service has: the stylesheet as it is, everything else escaped, and headers that allow nothing more."""

import base64
import hashlib
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from deploy.proxy import said
from shared.pages import SHARED_TEMPLATES, Pages

STYLE = (SHARED_TEMPLATES / "page.css").read_text(encoding="utf-8")


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    (tmp_path / "hello.html").write_text(
        "<style>{{ style }}</style>\n  {% if name %}\n<p>{{ name }}</p>\n  {% endif %}\n"
    )
    return Pages(tmp_path)


def test_the_stylesheet_stands_as_it_is_and_values_are_escaped(pages: Pages) -> None:
    assert pages.html("hello.html", name="<i>&") == f"<style>{STYLE}</style>\n<p>&lt;i&gt;&amp;</p>\n"


def test_a_value_that_nobody_gave_is_an_error(pages: Pages) -> None:
    with pytest.raises(UndefinedError):
        pages.html("hello.html")


def test_only_the_stylesheet_is_allowed_and_a_form_only_to_us(pages: Pages) -> None:
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert pages.headers() == {
        "content-security-policy": policy,
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "x-robots-tag": "noindex",
    }
    with_form = pages.headers(form=True)["content-security-policy"]
    assert with_form == policy.replace("form-action 'none'", "form-action 'self'")


def test_an_answer_has_them_all_and_what_else_it_needs(pages: Pages) -> None:
    answer = pages.answer("<p>", 503, form=True, headers={"Retry-After": "2"})
    assert (answer.status_code, answer.body) == (503, b"<p>")
    assert pages.headers(form=True).items() <= dict(answer.headers).items()
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_what_the_proxies_say_is_rendered_from_the_same_templates() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in said.FOLDER.iterdir()}
    assert committed == said.render(), "python -m deploy.proxy.said"
