import os
import pty
import subprocess
import sys

SCRIPT = """
import sys
from inat.output import expendable_output
with expendable_output():
    for number in range(2000):
        print("line", number)
    print("still here", file=sys.stderr)
    open(sys.argv[1], "w").write("done")
"""
NOTE = "nobody reads the output any more; the command goes on without it\n"


def run(tmp_path, **streams) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "result")]
    return subprocess.run(command, text=True, timeout=30, check=False, **streams)


def test_a_reader_that_leaves_does_not_end_the_command(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    done = run(tmp_path, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert done.returncode == 0
    assert done.stderr == f"{NOTE}still here\n"
    assert (tmp_path / "result").read_text() == "done"


def test_neither_does_a_terminal_that_was_closed(tmp_path):
    controller, terminal = pty.openpty()
    os.close(controller)
    done = run(tmp_path, stdout=terminal, stderr=terminal)
    os.close(terminal)
    assert done.returncode == 0
    assert (tmp_path / "result").read_text() == "done"


def test_nor_a_full_disk(tmp_path):
    with open("/dev/full", "w") as full:
        done = run(tmp_path, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, f"{NOTE}still here\n")


def test_output_that_is_read_is_complete(tmp_path):
    done = run(tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.stdout.splitlines() == [f"line {number}" for number in range(2000)]
    assert done.stderr == "still here\n"


def test_captured_streams_stay_as_they_are(capsys):
    from inat.output import expendable_output

    with expendable_output():
        print("captured")
    assert capsys.readouterr().out == "captured\n"
