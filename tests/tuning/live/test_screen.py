import io
import re

import pytest
from rich.text import Text

from inat.tuning.live.screen import ENTER, LEAVE, Screen, can_show_page, changes


@pytest.fixture
def screen(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "4")
    return Screen(io.StringIO(), None)


def sent(screen: Screen) -> str:
    text = screen._out.getvalue()
    screen._out.seek(0)
    screen._out.truncate()
    return text


def test_only_lines_that_have_changed_are_sent(screen):
    screen.enter()
    assert sent(screen) == ENTER
    screen.paint(lambda width, height: Text("a\nb\nc"))
    assert re.findall(r"\x1b\[(\d);1H(\w)", sent(screen)) == [("1", "a"), ("2", "b"), ("3", "c")]
    screen.paint(lambda width, height: Text("a\nB\nc"))
    assert re.findall(r"\x1b\[(\d);1H(\w)", sent(screen)) == [("2", "B")]
    screen.paint(lambda width, height: Text("a\nB\nc"))
    assert sent(screen) == ""


def test_another_size_is_painted_whole(screen):
    screen.enter()
    screen.paint(lambda width, height: Text(f"{width} {height}"))
    sent(screen)
    screen.console.width = 30
    screen.paint(lambda width, height: Text(f"{width} {height}"))
    assert "30 4" in sent(screen)
    screen.forget()
    screen.paint(lambda width, height: Text(f"{width} {height}"))
    assert "30 4" in sent(screen)


def test_the_terminal_is_given_back_once_and_stays_so_while_it_is_held(screen):
    screen.enter()
    screen.leave(hold=True)
    screen.leave()
    screen.enter()
    screen.paint(lambda width, height: Text("page"))
    assert sent(screen) == ENTER + LEAVE
    screen.release()
    screen.enter()
    assert sent(screen) == ENTER


def test_a_closed_terminal_ends_nothing(screen):
    screen.enter()
    screen._out.close()
    screen.paint(lambda width, height: Text("page"))
    screen.leave()


def test_lines_below_a_shorter_page_are_cleared():
    assert changes(["a", "b"], ["a"]) == "\x1b[2;1H\x1b[J"


def test_a_file_gets_no_page(screen):
    assert not can_show_page(screen.console)
