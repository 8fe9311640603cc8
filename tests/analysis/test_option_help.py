from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
import tyro

from analysis.option_help import default_text, field_docs, parameter_docs, placeholder, registry


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    folder: Annotated[Path, "FOLDER"] = Path.home() / "here"
    """Folder to read."""
    size: int | None = None
    """Side in pixels.
    Default: as stored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Command(Base):
    OPTION_GROUPS: ClassVar[dict[str, tuple[str, ...]]] = {"data": ("size", "folder"), "speed": ("rates", "fast")}

    photos: tyro.conf.Positional[tuple[Path, ...]]
    """Photos to read."""
    mode: Literal["slow", "quick"] | None = None
    """How to read."""
    fast: bool = False
    """Hurry."""
    rates: tuple[float, ...] = (0.5, 2.0)
    """Rates to try."""
    size: int | None = None


def read(*words: str, default: Command | None = None) -> Command:
    start = tyro.MISSING_NONPROP if default is None else default
    return tyro.cli(Command, args=words, default=start, registry=registry(), config=(tyro.conf.OmitArgPrefixes,))


def help_of(capsys, **kwargs) -> str:
    with pytest.raises(SystemExit):
        read("--help", **kwargs)
    return " ".join(capsys.readouterr().out.replace("│", "").split())


def test_groups_and_placeholders_leave_the_values_as_they_are():
    command = read("a.jpg", "b.jpg", "--size", "3", "--rates", "0.1", "--mode", "quick", "--fast", "--folder", "x")
    expected = Command(photos=(Path("a.jpg"), Path("b.jpg")), size=3, rates=(0.1,), mode="quick", fast=True,
                       folder=Path("x"))  # fmt: skip
    assert command == expected
    assert read("a.jpg") == Command(photos=(Path("a.jpg"),))


def test_none_may_be_written_out_and_given_defaults_stay():
    start = Command(photos=(Path("a.jpg"),), size=3, mode="slow")
    assert read("a.jpg", default=start) == start
    assert read("a.jpg", "--size", "None", "--mode", "None", default=start) == Command(photos=(Path("a.jpg"),))


def test_help_shows_groups_in_order_with_one_default_per_option(capsys):
    text = help_of(capsys)
    assert text.index("data options") < text.index("--size N") < text.index("--folder FOLDER")
    assert text.index("--folder FOLDER") < text.index("speed options") < text.index("--rates X ...")
    assert "--size N Side in pixels. Default: as stored. --folder" in text
    assert "Folder to read. Default: ~/here." in text
    assert "--mode slow|quick How to read." in text
    assert "Rates to try. Default: 0.5 2." in text
    assert "Hurry. Default: off." in text
    assert "PHOTOS ... Photos to read." in text
    assert "(default" not in text
    assert "Folder to read. Default: elsewhere." in help_of(
        capsys, default=Command(photos=(), folder=Path("elsewhere"))
    )


@pytest.mark.parametrize("words", [("--size", "3.5"), ("--mode", "fast"), ("--sise", "3")])
def test_wrong_options_exit_with_code_2_and_name_the_option(words, capsys):
    with pytest.raises(SystemExit) as exit_info:
        read("a.jpg", *words)
    assert exit_info.value.code == 2
    said = capsys.readouterr().err
    assert "--size N" in said or "--mode" in said
    assert "None}" not in said


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [(int, "N"), (float | None, "X"), (str, "TEXT"), (Path | None, "PATH"), (tuple[int, ...], "N ..."),
     (tuple[str, ...] | None, "TEXT ..."), (Annotated[str | None, "TIME"], "TIME"), (Literal["a", "b"], "a|b"),
     (bool, None)],
)  # fmt: skip
def test_placeholders(annotation, shown):
    assert placeholder(annotation) == shown


def test_a_default_is_left_out_where_the_text_has_it_or_there_is_none():
    assert default_text("Epochs.", 3) == "Default: 3."
    assert default_text("Epochs. Default: 3, or fewer.", 3) == ""
    assert [default_text("", value) for value in (None, ())] == ["", ""]
    assert default_text("", True) == "Default: on."


def test_texts_of_a_subclass_replace_those_of_its_base():
    assert field_docs(Command)["size"] == "Side in pixels. Default: as stored."
    assert field_docs(Command)["rates"] == "Rates to try."


def test_functions_have_their_texts_in_the_docstring():
    def look(study: tyro.conf.Positional[Path | None] = None, top: int = 3) -> tuple[Path | None, int]:
        """Look.

        Args:
            study: Study directory. Default: the one
                that was written to last.
            top: Trials to show.
        """
        return study, top

    texts = {"study": "Study directory. Default: the one that was written to last.", "top": "Trials to show."}
    assert parameter_docs(look) == texts
    assert tyro.cli(look, args=["x", "--top", "2"], registry=registry()) == (Path("x"), 2)


@pytest.mark.parametrize(("word", "said"), [("1.5", "'1.5' is no whole number"), ("many", "'many' is no whole number")])
def test_a_number_that_is_none_is_said_in_words(word, said, capsys):
    def look(top: int = 3, share: float | None = None) -> tuple[int, float | None]:
        """Look."""
        return top, share

    with pytest.raises(SystemExit):
        tyro.cli(look, args=["--top", word], registry=registry())
    assert said in capsys.readouterr().err
    with pytest.raises(SystemExit):
        tyro.cli(look, args=["--share", "half"], registry=registry())
    assert "'half' is no number" in capsys.readouterr().err
    assert tyro.cli(look, args=["--top", "2", "--share", "0.5"], registry=registry()) == (2, 0.5)
