"""The commands, run as a user runs them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import signals
from c3tf.data import manifest as manifests
from c3tf.data import splits
from data_tools import inspect
from raw_trees import write_bdd100k, write_camvid, write_cityscapes

ROOT = Path(__file__).resolve().parents[2]


def _run(module, *arguments):
    command = [sys.executable, "-m", f"data_tools.{module}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("module", "write", "height"),
    [
        ("camvid", write_camvid, 24),
        ("cityscapes", write_cityscapes, 512),
        ("bdd100k", write_bdd100k, 24),
    ],
)
def test_conversion_end_to_end(tmp_path, module, write, height):
    write(tmp_path / "raw")
    done = _run(
        module, f"--source={tmp_path / 'raw'}", f"--output={tmp_path / 'out'}", "--num_workers=2"
    )
    assert done.returncode == 0, done.stderr
    manifest = manifests.verify(str(tmp_path / "out"), quick=False)
    assert manifest.dataset == module
    assert manifest.converter == f"data_tools.{module}"
    expected = 0 if module != "cityscapes" else height
    assert manifest.options["height"] == expected
    assert inspect.summary(manifest) in done.stdout
    assert all(name in done.stdout for name in manifest.label_map.class_names)
    assert f"{manifest.count('train') + manifest.count('val')}/" in done.stderr


def test_splits_command(tmp_path):
    write_camvid(tmp_path / "raw")
    _run(
        "camvid", f"--source={tmp_path / 'raw'}", f"--output={tmp_path / 'out'}", "--num_workers=1"
    )
    path = tmp_path / "split.txt"
    done = _run("splits", f"--data={tmp_path / 'out'}", "--labeled=3", f"--output={path}")
    names = manifests.load(str(tmp_path / "out")).names("train")
    expected = splits.draw(names, 3, 12345)
    assert splits.read(str(path), names) == expected
    assert expected.hash in done.stdout
    done = _run("splits", f"--data={tmp_path / 'out'}", "--labeled=10", f"--output={path}")
    assert done.returncode == 2
    assert "`--labeled` must be at most 9" in done.stderr
    assert done.stderr.strip().endswith("Received: --labeled=10")


CONVERSION = ("--output", "--height", "--[no]strict", "--[no]verify", "--beam_runner")


@pytest.mark.parametrize(
    ("module", "wanted"),
    [
        ("camvid", (*CONVERSION, "--source")),
        ("cityscapes", (*CONVERSION, "--source", "--[no]coarse")),
        ("bdd100k", (*CONVERSION, "--source", "--[no]extra")),
        ("folder", (*CONVERSION, "--label_map", "--val_fraction", "--masks_are", "--unlabeled")),
        ("splits", ("--labeled", "--seed", "--output")),
        ("verify", ("--data", "--num_workers")),
        ("inspect", ("--data", "--output", "--images")),
    ],
)
def test_help_lists_the_flags(module, wanted):
    text = _run(module, "--helpshort").stdout
    assert all(flag in text for flag in (*wanted, f"python -m data_tools.{module}"))


def test_errors_are_one_line(tmp_path):
    done = _run("camvid", f"--source={tmp_path}", f"--output={tmp_path / 'out'}")
    assert done.returncode == 2
    assert "python -m data_tools.camvid: error: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
    done = _run("camvid", "--source=a", "--output=b", "stray")
    assert "Every argument must be a flag" in done.stderr
    assert "'stray'" in done.stderr


@pytest.mark.parametrize(
    "modules",
    [
        "data_tools.bdd100k, data_tools.camvid, data_tools.cityscapes, data_tools.folder",
        "data_tools.inspect, data_tools.verify, data_tools.conversion.convert",
        "data_tools.street_scenes.__main__, data_tools.splits",
    ],
)
def test_commands_and_workers_do_not_import_tensorflow(modules):
    code = f"import sys, {modules}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def _alive(pid):
    """Tells whether a process runs; one that has ended but was not collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_end_when_the_main_process_is_killed():
    code = (
        "import os, time\n"
        "from data_tools.conversion import workers\n"
        "if __name__ == '__main__':\n"
        "    with workers.pool(2) as mapper:\n"
        "        print(*mapper.map(os.path.realpath, ['/proc/self'] * 2), flush=True)\n"
        "        time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as main:
        pids = {path.rpartition("/")[2] for path in main.stdout.readline().split()}
        assert pids
        assert all(_alive(pid) for pid in pids)
        assert str(main.pid) not in pids
        main.kill()
    until = time.monotonic() + 10
    while any(_alive(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(_alive(pid) for pid in pids)


def test_an_incomplete_data_set_is_said_and_refused_when_strict(tmp_path):
    flags = (f"--source={write_camvid(tmp_path / 'raw')}", f"--output={tmp_path / 'out'}")
    done = _run("camvid", *flags, "--num_workers=1", "--strict")
    assert done.returncode == 2
    assert "not the published data set (--strict): train holds 9" in done.stderr
    assert not (tmp_path / "out").exists()
    done = _run("camvid", *flags, "--num_workers=1")
    assert done.returncode == 0
    assert "val holds 3 images with labels, the published data set 101" in done.stdout


def _open_when_read(pipe, process):
    """Opens a pipe for writing as soon as another process reads it."""
    while True:
        assert process.poll() is None
        # Nobody reads it yet.
        with contextlib.suppress(OSError):
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.05)


def test_ctrl_c_ends_in_one_line_and_the_run_continues(repository, tmp_path):
    write_camvid(tmp_path / "raw")
    # An image that never comes keeps a worker at work.
    pipe = tmp_path / "raw/train/train 08.png"
    whole = pipe.read_bytes()
    pipe.unlink()
    os.mkfifo(pipe)
    flags = (f"--source={tmp_path / 'raw'}", f"--output={tmp_path / 'out'}", "--num_workers=2")
    command = [sys.executable, "-m", "data_tools.camvid", *flags]
    with subprocess.Popen(
        command,
        cwd=repository,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=signals.default,
    ) as process:
        writer = _open_when_read(pipe, process)
        # The other worker may still be starting.
        time.sleep(2)
        os.killpg(process.pid, signal.SIGINT)
        # The main process has to hear of it before a worker finds the image cut short, also on a
        # machine that is busy.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=15)
        os.close(writer)
        stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "python -m data_tools.camvid: interrupted."
    assert "Traceback" not in stderr
    pipe.unlink()
    pipe.write_bytes(whole)
    assert _run("camvid", *flags).returncode == 0
