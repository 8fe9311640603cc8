import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import pytest

from inat.errors import ConfigError, StudyError
from inat.serve.listen import address, check_folder, listening_socket
from tests.paths import ROOT


@contextmanager
def server(*words):
    """`inat serve` as a user starts it, and the line that it prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "inat", "serve", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=environment,
    )  # fmt: skip
    try:
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


def get(url, **headers):
    """The status and the text of an answer; nothing is asked of a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.slow
def test_the_command_prints_its_address_serves_and_ends_with_ctrl_c(folder):
    with server(folder, "--port", "0") as (process, line):
        match = re.fullmatch(
            rf"serving {re.escape(str(folder))} at (http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)\n", line
        )
        assert match, line
        status, text = get(match[1])
        assert (status, 'href="/study/first"' in text) == (200, True)
        assert get(match[1], Host="evil.example")[0] == 403
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("", "")
        assert process.returncode == 0


@pytest.mark.slow
def test_further_than_loopback_the_address_has_a_token(folder):
    with server(folder, "--port", "0", "--host", "0.0.0.0") as (_, line):
        port, token = re.search(r":(\d+)/\?token=([\w-]{32})", line).groups()
        assert get(f"http://127.0.0.1:{port}/")[0] == 403
        assert get(f"http://127.0.0.1:{port}/?token={token}")[0] == 200


@pytest.mark.parametrize(
    ("words", "message"),
    [(("--port", "70000"), "error: --port must be from 0 to 65535, got 70000\n"),
     (("no/folder",), "error: no folder no/folder to serve (No such file or directory); name that of your "
      "studies, as in `inat serve results`\n")],
)  # fmt: skip
def test_a_mistake_is_one_line(words, message, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "inat", "serve", *words], capture_output=True, text=True, timeout=120, check=False,
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


def test_a_port_in_use_is_named_with_the_next_one():
    with listening_socket("127.0.0.1", 0) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} of 127.0.0.1 is in use .*--port {port + 1}"):
            listening_socket("127.0.0.1", port)


@pytest.mark.parametrize("host", ["203.0.113.7", "not a name"])
def test_an_address_that_is_not_of_this_machine_is_named(host):
    with pytest.raises(ConfigError, match=f"cannot listen at {host}, port 0"):
        listening_socket(host, 0)


def test_a_folder_may_be_served_before_its_first_study(tmp_path, folder):
    assert not check_folder(tmp_path / "results")
    (tmp_path / "results").mkdir()
    assert not check_folder(tmp_path / "results")
    assert check_folder(folder)
    with pytest.raises(StudyError, match=r"no folder .*no/results to serve \(No such file or directory\); name that"):
        check_folder(tmp_path / "no" / "results")


@pytest.mark.slow
def test_the_first_study_appears_once_it_begins(folder, tmp_path):
    later = tmp_path / "later"
    with server(later, "--port", "0") as (process, line):
        assert (
            process.stdout.readline()
            == f"{later} has no study yet; the page shows each one once its search has begun\n"
        )
        url = re.search(r"http://\S+", line)[0]
        assert "There is no study in this folder. A new one appears here by itself." in get(url)[1]
        shutil.copytree(folder, later)
        assert 'href="/study/first"' in get(url)[1]


@pytest.mark.parametrize(
    ("host", "token", "url"),
    [("127.0.0.1", None, "http://127.0.0.1:80/"), ("::1", None, "http://[::1]:80/"),
     ("0.0.0.0", "t", f"http://{socket.gethostname()}:80/?token=t")],
)  # fmt: skip
def test_the_address_can_be_opened(host, token, url):
    assert address(host, 80, token) == url
