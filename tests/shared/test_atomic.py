"""A file is the old one or the whole new one."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.atomic import replacing, write_text


def _fail_half_way(path: Path) -> None:
    with replacing(path) as part:
        part.write_text("half")
        raise OSError("disk is full")


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(OSError, match="disk is full"):
        _fail_half_way(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_in_mid_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    program = (
        "import os, signal, sys; from pathlib import Path; from shared.atomic import replacing\n"
        "with replacing(Path(sys.argv[1])) as part:\n"
        "    part.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
