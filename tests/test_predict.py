import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from inat.cli import guard
from inat.errors import ConfigError, DataError
from inat.predict import PredictCommand, image_paths, predict, printable
from tests.conftest import write_image


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two images, and between them a file that is no image."""
    for name in ("a.jpg", "c.png"):
        write_image(tmp_path / "in" / name, seed=ord(name[0]))
    (tmp_path / "in/b.jpg").write_bytes(b"no image")
    return tmp_path / "in"


def run(*photos: Path, model: Path, **options) -> int:
    """Run the command; returns its exit code."""
    try:
        guard(lambda: predict(PredictCommand(model=model, photos=photos, **options)))
    except SystemExit as end:
        return end.code
    return 0


def test_folders_are_listed_in_sorted_order_like_training_folders(tmp_path):
    wanted = ["a/1.JPG", "a/b/2.webp", "a/c.tiff", "b.jpeg", "d.folder.png/x.bmp"]
    ignored = [".hidden.jpg", "a/._1.jpg", ".cache/3.jpg", "notes.txt", "a/b/film.mpg", "paper.pdf", "noending"]
    for name in wanted + ignored:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    assert image_paths([tmp_path]) == [f"{tmp_path}/{name}" for name in wanted]


def test_named_files_are_taken_with_any_name_and_once(tmp_path):
    for name in ("b.jpg", ".hidden.jpg", "noending"):
        (tmp_path / name).write_bytes(b"")
    named = [tmp_path / "noending", tmp_path / ".hidden.jpg", tmp_path, tmp_path / "b.jpg"]
    assert image_paths(named) == [f"{tmp_path}/{name}" for name in ("noending", ".hidden.jpg", "b.jpg")]


def test_missing_files_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"x\.jpg does not exist; after the model, pass the paths of photos"):
        image_paths([tmp_path / "x.jpg"])
    with pytest.raises(DataError, match=r"has no image files \(\.jpg, .*\) in it or its folders"):
        image_paths([tmp_path])
    with pytest.raises(ConfigError, match="name photos"):
        image_paths([])


def test_csv_has_a_line_per_image_with_a_reason_for_unreadable_ones(digits_model, folder, capsys):
    assert run(folder, model=digits_model, format="csv", top=2) == 0
    out, err = capsys.readouterr()
    first, bad, last = csv.DictReader(io.StringIO(out))
    assert list(first) == ["photo", "class", "confidence", "class_2", "confidence_2", "error"]
    assert [Path(row["photo"]).name for row in (first, bad, last)] == ["a.jpg", "b.jpg", "c.png"]
    assert (bad["class"], bad["confidence"], bad["error"]) == ("", "", "cannot identify image file")
    for row in (first, last):
        assert row["error"] == ""
        assert 1 >= float(row["confidence"]) >= float(row["confidence_2"]) > 0
        assert row["class"] != row["class_2"]
    assert "3 photos in " in err
    assert " images/s; 1 of them could not be predicted" in err


def test_json_has_the_content_of_csv(digits_model, folder, tmp_path, capsys):
    for name in ("a.csv", "a.json"):
        assert run(folder, model=digits_model, top=10, output=tmp_path / name) == 0
    assert capsys.readouterr().out == ""
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    objects = json.loads((tmp_path / "a.json").read_text())
    assert sum(guess["confidence"] for guess in objects[0]["top"]) == pytest.approx(1, abs=1e-5)
    assert objects[1] == {"photo": rows[1]["photo"], "class": None, "confidence": None, "top": [],
                          "error": "cannot identify image file"}  # fmt: skip
    for found, row in ((objects[0], rows[0]), (objects[2], rows[2])):
        assert (found["photo"], found["class"], found["confidence"]) == (
            row["photo"], row["class"], float(row["confidence"]),
        )  # fmt: skip
        assert found["top"][0] == {"class": found["class"], "confidence": found["confidence"]}
        assert found["top"][9] == {"class": row["class_10"], "confidence": float(row["confidence_10"])}


def test_the_table_is_plain_when_it_is_piped(digits_model, folder, capsys):
    assert run(folder, model=digits_model) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["photo", "class", "confidence", "error"]
    assert [line.split()[0] for line in lines[1:]] == [f"{folder}/{name}" for name in ("a.jpg", "b.jpg", "c.png")]
    assert lines[2].split(maxsplit=3)[1:] == ["-", "-", "cannot identify image file"]
    assert run(folder / "a.jpg", model=digits_model) == 0
    assert "error" not in capsys.readouterr().out


def test_the_exit_code_is_2_if_no_image_is_readable(digits_model, folder, capsys):
    assert run(folder / "b.jpg", model=digits_model, format="csv") == 2
    out, err = capsys.readouterr()
    assert out.endswith("b.jpg,,,cannot identify image file\n")
    assert err.endswith(f"(first: {folder}/b.jpg: cannot identify image file)\n")
    assert "Traceback" not in err


def test_an_ensemble_predicts_only_if_it_is_asked_for(digits_model, folder, tmp_path, capsys):
    final = tmp_path / "study/final"
    (final / "ensemble").mkdir(parents=True)
    for name in ("model.ckpt", "ensemble/t0000.ckpt", "ensemble/t0001.ckpt"):
        shutil.copy(digits_model, final / name)
    members = [{"file": f"t000{number}.ckpt", "weight": 0.5} for number in range(2)]
    (final / "ensemble/ensemble.json").write_text(json.dumps({"format": 1, "members": members}))
    assert run(folder, model=final, format="csv") == 0
    alone = capsys.readouterr().out
    assert run(folder, model=final.parent, format="csv", ensemble=True) == 0
    assert capsys.readouterr().out == alone  # the mean of two equal models
    assert run(folder, model=digits_model, ensemble=True) == 2
    assert "best.ckpt has no ensemble; pass a study directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"top": 11}, "--top must be in 1..10, the classes of the model, got 11"),
        ({"top": 0}, "top must be positive, got 0"),
        ({"batch_size": -1}, "batch_size must be positive, got -1"),
        ({"output": Path("nowhere/x.csv")}, "cannot write nowhere/x.csv (No such file or directory); choose another"),
        ({"output": Path("/")}, "--output / is a folder; name a file"),
    ],
)
def test_wrong_options_are_one_sentence(digits_model, folder, capsys, options, sentence):
    assert run(folder, model=digits_model, **options) == 2
    assert f"error: {sentence}" in capsys.readouterr().err


def test_an_existing_output_is_kept_when_prediction_fails(digits_model, folder, tmp_path, monkeypatch):
    kept = tmp_path / "old.csv"
    kept.write_text("old")
    monkeypatch.setattr("inat.training.inference._predict_batch", lambda model, decoded: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(folder, model=digits_model, output=kept)
    assert kept.read_text() == "old"
    assert not list(tmp_path.glob(".old*"))


def test_file_names_with_invalid_text_or_control_characters_are_escaped(digits_model, folder, tmp_path, capsys):
    assert printable("a\x1b[2J\nb é.jpg") == r"a\x1b[2J\nb é.jpg"
    odd = os.fsencode(folder) + b"/\xff.jpg"
    os.rename(folder / "a.jpg", odd)
    output = tmp_path / "out.csv"
    assert run(folder, model=digits_model, output=output) == 0
    assert odd + b"," in output.read_bytes()


@pytest.mark.slow
def test_the_command_works_from_a_pipe(digits_model, folder):
    command = [sys.executable, "-m", "inat.predict", str(digits_model), str(folder), "--format", "csv"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4
    assert done.stderr.count("\n") == 1


def test_csv_is_written_in_utf8_even_if_the_terminal_knows_only_ascii(digits_model, folder, monkeypatch):
    os.rename(folder / "a.jpg", folder / "žß.jpg")
    for form, wanted in (("csv", "žß.jpg,".encode()), ("table", rb"\u017e\xdf.jpg")):
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))  # as of PYTHONIOENCODING=ascii
        assert run(folder, model=digits_model, format=form) == 0
        sys.stdout.flush()
        assert wanted in written.getvalue()
