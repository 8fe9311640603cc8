import os
import socket

import pytest
import requests

from inat.data.download import http
from tests.data.site import (
    DATE,
    IMAGES,
    TAG,
    Site,
    assert_whole,
    interrupt,
    refuse,
    run,
    self_signed_certificate,
    serving,
    use_tls,
    work,
    zipped,
)


@pytest.mark.parametrize("headers", [{"ETag": TAG}, {"Last-Modified": DATE}, {"ETag": 'W/"x"', "Last-Modified": DATE}])
def test_two_cuts_are_continued_where_they_happened(site, to, headers, capsys):
    if headers.get("ETag", "").startswith("W/"):
        site.if_range = False  # the server of this test would compare If-Range with the weak tag
    site.headers, site.cuts = headers, [50_000, 70_000]
    run(site, to)
    assert site.asked == [None, "bytes=50000-", "bytes=120000-"]
    assert_whole(to)
    assert (
        capsys.readouterr().out.count(f"the connection was closed before the end; trying {site.url} again in 0 s") == 2
    )


def test_tries_with_new_bytes_do_not_count(site, to):
    site.cuts = [10_000] * (3 * http.TRIES)
    run(site, to)
    assert len(site.asked) == 3 * http.TRIES + 1
    assert_whole(to)


def test_waits_grow_without_new_bytes_and_start_again_with_some(site, to, monkeypatch):
    waits = []
    monkeypatch.setattr(http, "WAIT", lambda state: waits.append(2 ** (state.attempt_number - 1)) or 0)
    site.cuts = [10_000, 0, 0, 10_000, 0]
    run(site, to)
    assert waits == [1, 2, 4, 1, 2]


def test_a_dead_connection_ends_with_one_sentence_and_the_next_run_continues(site, to):
    site.cuts = [100_000] + [0] * (http.TRIES - 1)
    refuse(site, to, r"6 tries in a row brought nothing new from http.* \(100,000 bytes are here\): .*; check network")
    assert len(site.asked) == http.TRIES
    assert not to.exists()
    run(site, to)
    assert site.asked[-1] == "bytes=100000-"
    assert_whole(to)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(site, to, status, capsys):
    site.statuses = [status, status]
    run(site, to)
    assert f"it answered {status}" in capsys.readouterr().out
    assert_whole(to)


def test_answers_shorter_than_declared_are_continued(site, to):
    site.cuts, site.most = [50_000], 100_000
    run(site, to)
    assert site.asked == [None, "bytes=50000-", "bytes=150000-"]
    assert_whole(to)


@pytest.mark.parametrize(
    "change", [{"ranges": False}, {"headers": {}}, {"headers": {"ETag": 'W/"weak"'}}], ids=["range", "tag", "weak"]
)
def test_a_server_that_cannot_continue_starts_over(site, to, change):
    vars(site).update(change)
    site.cuts = [50_000]
    run(site, to)
    assert len(site.asked) == 2
    assert_whole(to)


@pytest.mark.parametrize("if_range", [True, False], ids=["If-Range is honoured", "If-Range is ignored"])
@pytest.mark.parametrize("same_length", [True, False])
def test_an_archive_that_changed_between_two_runs_is_fetched_again(site, to, if_range, same_length):
    site.cuts = [100_000] + [0] * (http.TRIES - 1)
    refuse(site, to, "100,000 bytes are here")
    newer = IMAGES | {"train/bird/0.jpg": bytes(20_000 if same_length else 10_000)}
    site.body, site.headers, site.if_range = zipped(newer), {"ETag": '"two"'}, if_range
    run(site, to)
    assert_whole(to, newer)


def test_another_address_starts_over(site, to):
    site.cuts = [100_000] + [0] * (http.TRIES - 1)
    refuse(site, to, "100,000 bytes are here")
    site.url += "?other"
    run(site, to)
    assert site.asked[-1] is None
    assert_whole(to)


def test_a_damaged_note_starts_over(site, to):
    site.cuts = [100_000] + [0] * (http.TRIES - 1)
    refuse(site, to, "100,000 bytes are here")
    (work(to) / "archive.json").write_text("")
    run(site, to)
    assert site.asked[-1] is None
    assert_whole(to)


@pytest.mark.parametrize(("owner", "name"), [(os, "truncate"), (http, "atomic_write")])
def test_versions_do_not_mix_when_a_run_ends_while_it_starts_over(site, to, monkeypatch, owner, name):
    site.cuts = [100_000] + [0] * (http.TRIES - 1)
    refuse(site, to, "100,000 bytes are here")
    newer = IMAGES | {"train/bird/0.jpg": bytes(20_000)}
    site.body, site.headers = zipped(newer), {"ETag": '"two"'}
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(site, to)
    run(site, to)
    assert_whole(to, newer)


# Answers without an archive.


@pytest.mark.parametrize(
    ("statuses", "message"),
    [
        ([404], r"photos.zip answered 404 Not Found; check --url"),
        ([403], r"photos.zip answered 403 Forbidden; check --url"),
        ([503] * 6, r"6 tries in a row brought nothing new from .* it answered 503 Service Unavailable; check network"),
    ],
)
def test_a_refusal_of_the_server_is_one_sentence_and_leaves_no_files(site, to, statuses, message):
    site.statuses = list(statuses)
    refuse(site, to, message)
    assert len(site.asked) == len(statuses)
    assert list(to.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:{closed}/x.zip", r"brought nothing new from .*: Connection refused; check network"),
        ("ftp://127.0.0.1/x.zip", r"cannot fetch 'ftp://.*; check --url"),
        ("nature_12K.zip", r"cannot fetch 'nature_12K.zip'.*; check --url"),
        ("http://", r"cannot fetch 'http://'.*; check --url"),
    ],
)
def test_an_unreachable_address_is_one_sentence(to, url, message):
    with Site() as site:
        site.url = url.format(closed=site.server_port)
    refuse(site, to, message)
    assert list(to.parent.iterdir()) == []


def test_a_missing_network_is_one_sentence(site, to, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    refuse(site, to, r"6 tries in a row brought nothing new from .*: Name or service not known; check network")


def test_a_redirection_is_followed_unless_it_is_circular(site, to):
    with serving() as door:
        door.redirect = door.url
        refuse(door, to, r"cannot fetch .*redirects.*; check --url")
        door.redirect, site.cuts = site.url, [50_000]
        run(door, to)
    assert site.asked == [None, "bytes=50000-"]
    assert_whole(to)


def test_a_server_with_an_untrusted_certificate_is_asked_only_once(site, to, tmp_path, monkeypatch):
    asked, get = [], requests.get
    monkeypatch.setattr(requests, "get", lambda url, **options: (asked.append(url), get(url, **options))[1])
    use_tls(site, self_signed_certificate(tmp_path / "certificate.pem"))
    refuse(site, to, r"cannot trust https://.*: .*self-signed.*; let REQUESTS_CA_BUNDLE")
    assert asked == [site.url]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"declared_more": 1000},
            r"nothing after 24\d,\d{3} bytes although it declared 24\d,\d{3}; check --url, or run",
        ),
        ({"declared_more": 1000, "ranges": False}, r"6 tries .*; check network"),
        (
            {"headers": {"Content-Length": "100000"}},
            r"the 100,000 bytes declared .* no sound zip archive: .*; check --url",
        ),
        ({"headers": {"Content-Length": "0"}}, r"the 0 bytes declared .* no sound zip archive"),
        ({"headers": {"Content-Length": None}}, r"does not declare its length, .*; pass another --url"),
    ],
    ids=["too long", "too long and no range", "too short", "nothing", "absent"],
)
def test_a_wrong_length_is_one_sentence_and_the_next_run_succeeds(site, to, change, message, monkeypatch):
    monkeypatch.setattr(http, "CHUNK", len(site.body) // 2)  # so that no partial chunk is lost
    right = {name: getattr(site, name) for name in change}
    vars(site).update(change)
    refuse(site, to, message)
    assert not to.exists()
    vars(site).update(right | {"ranges": site.ranges})
    run(site, to)
    assert_whole(to)
