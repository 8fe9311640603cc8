import subprocess
import sys

import pytest

from inat.summary import SummaryCommand


def test_prints_the_layers_with_shapes_and_parameters():
    options = ["--first-layer-filters", "64", "--no-batch-norm", "--num-neurons-dense", "256", "--image-size", "224"]
    command = [sys.executable, "-m", "inat.summary", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in done.stdout.splitlines() if "│" in line]
    rows = {row[0]: row[1:] for row in cells}
    assert rows["conv1"] == ["64 x 224 x 224", "1,792"]
    assert rows["dense"] == ["256", "803,072"]
    assert rows["output"] == ["10", "2,570"]
    assert rows["total"] == ["", "955,146"]


def test_impossible_networks_are_one_line_and_exit_code_2():
    command = [sys.executable, "-m", "inat.summary", "--image-size", "16", "--conv-layers", "5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "--conv-layers=5 halves the image 5 times and needs at least 32 px" in done.stderr
    assert "Traceback" not in done.stderr
    command = [sys.executable, "-m", "inat.summary", "--num-classes", "-1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (2, "error: --num-classes must be positive, got -1\n")


@pytest.mark.parametrize(
    ("options", "fitted"),
    [
        ({"image_size": 16}, (4, 16)),
        ({"image_size": 1}, (1, 1)),
        ({"conv_layers": 9}, (9, 512)),
        ({"conv_layers": 3}, (3, 224)),
        ({"conv_layers": 5, "image_size": 16}, (5, 16)),
        ({}, (5, 224)),
    ],
)
def test_a_default_gives_way_to_the_option_that_was_set(options, fitted):
    command = SummaryCommand(**options)
    assert (command.conv_layers, command.image_size) == fitted


def test_prints_a_residual_network():
    options = ["--block", "residual", "--pooling", "average", "--first-layer-filters", "24", "--filter-org", "2"]
    command = [sys.executable, "-m", "inat.summary", *options, "--conv-layers", "4", "--image-size", "64"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in done.stdout.splitlines() if "│" in line]
    rows = {row[0]: row[1:] for row in cells}
    assert rows["block4"] == ["192 x 4 x 4", "498,432"]
    assert rows["average"] == ["192 x 1 x 1", "0"]
    assert rows["total"] == ["", "657,178"]


def test_prints_a_small_residual_network():
    options = ["--width", "64", "--stem-stride", "2", "--image-size", "64", "--num-classes", "8"]
    command = [sys.executable, "-m", "inat.summary", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in done.stdout.splitlines() if "│" in line]
    rows = {row[0]: row[1:] for row in cells}
    assert rows["stem_conv"] == ["32 x 32 x 32", "864"]
    assert rows["stage3"][0] == "256 x 4 x 4"
    assert rows["output"] == ["8", "2,056"]
