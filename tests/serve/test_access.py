import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from inat.serve.access import Access, is_loopback

TOKEN = "secret-token"


def client(token=None, local_only=True, name="http://127.0.0.1:8321"):
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("page"))])
    return TestClient(Access(app, token=token, local_only=local_only, port=8321), base_url=name)


@pytest.mark.parametrize("name", ["127.0.0.1:8321", "localhost:9000", "LOCALHOST", "[::1]:8321", "[::1]"])
def test_loopback_answers_to_the_names_of_this_machine(name):
    assert client().get("/", headers={"host": name}).text == "page"


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8321", ""])
def test_a_name_that_was_bound_to_loopback_from_elsewhere_is_refused(name):
    answer = client().get("/", headers={"host": name})
    assert (answer.status_code, "page" in answer.text.split()) == (403, False)


def test_without_the_token_nothing_is_answered():
    browser = client(TOKEN, local_only=False)
    for place in ("/", "/?token=", "/?token=wrong", "/nothing"):
        assert browser.get(place).status_code == 403
    assert browser.get("/", headers={"cookie": "inat_serve_8321=wrong"}).status_code == 403


def test_the_token_in_the_address_is_kept_in_a_cookie():
    browser = client(TOKEN, local_only=False)
    answer = browser.get(f"/?token={TOKEN}")
    assert answer.text == "page"
    assert answer.headers["set-cookie"] == f"inat_serve_8321={TOKEN}; HttpOnly; SameSite=Strict; Path=/"
    again = browser.get("/")
    assert (again.text, "set-cookie" in again.headers) == ("page", False)


def test_every_answer_has_the_policy_that_loads_nothing_from_elsewhere():
    for answer in (client().get("/"), client().get("/nothing"), client(TOKEN).get("/")):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'")
        assert "http" not in policy
        assert "unsafe-inline" not in policy.split("style-src")[0]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.0.1.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("10.0.0.5", False), ("localhost.example", False)],
)  # fmt: skip
def test_loopback_is_told_from_other_addresses(host, local):
    assert is_loopback(host) is local
