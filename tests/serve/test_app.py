import json
import re

import pytest
from starlette.testclient import TestClient

from inat.serve.app import make_app
from tests.serve.conftest import HOSTILE, GrowingStudy


@pytest.fixture
def client(folder):
    with TestClient(make_app(folder), base_url="http://127.0.0.1:8321") as client:
        yield client


def plots_of(text: str) -> dict:
    return json.loads(re.search(r'<script id="plots" type="application/json">(.*?)</script>', text, re.DOTALL)[1])


def chosen(text: str) -> list[str]:
    return re.findall(r'type="checkbox" name="trial" value="(\w+)"[^>]* checked', text)


def test_the_list_links_to_each_study(client, second):
    text = client.get("/").text
    assert text.index('href="/study/second"') < text.index('href="/study/first"')
    assert "10 / 10" in text
    assert '<input type="checkbox" name="study" value="first"' in text


def test_a_page_that_has_not_changed_is_not_sent_again(client, second):
    tag = client.get("/").headers["etag"]
    again = client.get("/", headers={"if-none-match": tag})
    assert (again.status_code, again.text) == (304, "")
    second.add(1)
    assert client.get("/", headers={"if-none-match": tag}).status_code == 200


def test_a_study_whose_first_trial_runs_says_so_and_shows_it(client, second):
    second.train(second.begin(), 2)
    second.study.write_trials()
    text = client.get("/study/second").text
    assert "No trial has ended yet" in text
    assert '<tr id="trial-t0000">' in text


def test_a_study_without_a_page_yet_names_the_report_in_its_folder(client, folder, second):
    second.begin()
    second.study.write_trials()
    assert 'id="written"' not in client.get("/study/second").text
    (folder / "second" / "report.html").write_text("<p>A report")
    text = client.get("/study/second").text
    assert f"open <code>{folder / 'second' / 'report.html'}</code> in a browser" in text


@pytest.mark.slow
def test_the_report_is_made_in_the_background_and_then_shown(client):
    text = client.get("/study/first").text
    while "The report is being made" in text:
        text = client.get("/study/first").text
    assert 'id="plot-parallel"' in text
    assert plots_of(text)["parallel"]["data"][0]["type"] == "parcoords"
    assert "&lt;section" not in text


@pytest.mark.slow
def test_studies_are_compared_with_the_tables_of_the_command(client, folder):
    other = GrowingStudy(folder / "other", planned=10)
    other.add(10)
    other.study.close()
    place = "/compare?study=first&study=other"
    text = client.get(place).text
    while "The comparison is being made" in text:
        text = client.get(place).text
    assert "Networks of the studies" in text
    assert 'id="figure-convergence"' in text


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [("", 400, "Choose two studies"), ("?study=first", 400, "Choose two studies"),
     ("?study=first&study=../etc", 404, "There is no study &#39;../etc&#39;")],
)  # fmt: skip
def test_a_comparison_needs_two_studies_of_the_list(client, query, status, words):
    answer = client.get(f"/compare{query}")
    assert (answer.status_code, words in answer.text) == (status, True)


def test_the_best_trials_are_chosen_at_first_and_their_curves_drawn(client):
    text = client.get("/study/first/trials").text
    names = [trace["name"] for trace in plots_of(text)["chosen"]["data"]]
    assert len(names) == 5
    assert sorted(chosen(text)) == names
    assert "t0009" not in names  # which failed


def test_the_choice_is_in_the_address(client):
    text = client.get("/study/first/trials?trial=&trial=t0002&trial=t0009&state=failed&metric=val_loss").text
    figure = plots_of(text)["chosen"]
    assert [trace["name"] for trace in figure["data"]] == ["t0002", "t0009"]
    assert figure["layout"]["yaxis"]["title"]["text"] == "validation loss"
    assert re.findall(r'<tr id="trial-(\w+)">', text) == ["t0009"]
    assert '<input type="hidden" name="trial" value="t0002">' in text  # chosen, but in no row of the table


def test_nothing_need_be_chosen(client):
    text = client.get("/study/first/trials?trial=").text
    assert (plots_of(text), chosen(text)) == ({}, [])
    assert "No trial is chosen" in text


def test_a_trial_that_does_not_exist_is_named(client):
    assert "The study has no trial t7777" in client.get("/study/first/trials?trial=t7777").text


def test_the_error_of_a_failed_trial_is_shown_as_text(client):
    table = client.get("/study/first/trials").text
    assert 'href="/study/first/errors/t0009"' in table
    text = client.get("/study/first/errors/t0009").text
    for page in (table, text):
        assert HOSTILE not in page
        assert "&lt;script&gt;document.title" in page


@pytest.mark.parametrize(
    "place",
    ["/study/none", "/study/none/trials", "/study/first/errors/t0001", "/study/first/errors/..%2ftrials",
     "/study/..%2f..%2fetc", "/study/%2e%2e/trials", "/study/first/errors/../../study.json", "/static/..%2fapp.py",
     "/static/page.html", "/nothing"],
)  # fmt: skip
def test_no_address_leads_out_of_the_list(client, place):
    answer = client.get(place)
    assert answer.status_code == 404
    assert "num_samples" not in answer.text


@pytest.mark.parametrize("name", ["page.css", "page.js", "live.css", "live.js"])
def test_styles_and_scripts_are_served_and_kept(client, name):
    answer = client.get(f"/static/{name}")
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    assert len(answer.text) > 500


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_nothing_can_be_changed(client, method):
    assert getattr(client, method)("/study/first").status_code == 405


def test_pages_name_no_other_server(client):
    for place in ("/", "/study/first/trials", "/study/first/errors/t0009"):
        text = client.get(place).text.replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text.replace("&#34;", "")
        assert "https:" not in text


def test_half_written_rows_do_not_break_the_page(client, folder):
    with (folder / "first" / "history.csv").open("a") as file:
        file.write("t0003,10,0.1,0.")
    text = client.get("/study/first/trials").text
    assert "Left out: 1 row that could not be read." in text
    assert len(plots_of(text)["chosen"]["data"]) == 5
