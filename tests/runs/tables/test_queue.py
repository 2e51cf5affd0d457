"""The queue: what is missing is made once, past failures, beside others, after kills."""

import contextlib
import subprocess
import sys
import threading

import pytest

import tiny_tables
from c3tf.errors import DataError, Stopped, StorageError
from c3tf.io import locks
from c3tf.runs.tables import outcome, plan, queue

pytestmark = pytest.mark.smoke


@pytest.fixture
def jobs(tmp_path):
    """The eight runs of the tiny table."""
    return list(plan.make([tiny_tables.read(tmp_path)], str(tmp_path / "out")).jobs.values())


def test_what_is_missing_is_made_in_order_and_once(jobs):
    tiny_tables.finish(jobs[2])
    made, after = [], []
    assert (
        queue.work(jobs, lambda job: made.append(job) or tiny_tables.finish(job), after.append)
        == {}
    )
    assert made == after == [*jobs[:2], *jobs[3:]]
    assert queue.work(jobs, made.clear) == {}
    assert len(made) == 7


def test_a_run_that_fails_is_named_and_the_others_go_on(jobs, capsys):
    def make(job):
        if job == jobs[1]:
            raise DataError("bad record")
        if job == jobs[3]:
            raise MemoryError("too large")
        if job != jobs[4]:
            tiny_tables.finish(job)

    failures = queue.work(jobs, make)
    assert failures == {
        jobs[1].name: "bad record",
        jobs[3].name: "MemoryError: too large",
        jobs[4].name: "it ended without its results",
    }
    assert [outcome.is_finished(job) for job in jobs] == [n not in (1, 3, 4) for n in range(8)]
    said = capsys.readouterr().err
    assert f"{jobs[1].name} failed: bad record" in said
    # What nobody expects keeps its traceback.
    assert said.count("Traceback") == 1


def test_tables_that_cannot_be_written_do_not_end_the_queue(jobs, capsys):
    def after(job):
        raise OSError("no room") if job == jobs[0] else StorageError("no room either")

    assert queue.work(jobs, tiny_tables.finish, after) == {}
    assert all(map(outcome.is_finished, jobs))
    said = capsys.readouterr().err
    assert said.count("The tables were not written: no room") == len(jobs)


def test_a_request_to_stop_ends_the_queue_and_it_goes_on_later(jobs):
    made = []

    def make(job):
        made.append(job)
        if len(made) == 3:
            raise Stopped("asked to")
        tiny_tables.finish(job)

    with pytest.raises(Stopped):
        queue.work(jobs, make)
    assert made == jobs[:3]
    assert queue.work(jobs, make) == {}
    assert made == [*jobs[:3], *jobs[2:]]


def test_a_run_that_another_holds_is_passed_over_and_looked_at_again(jobs, monkeypatch, capsys):
    """One is finished by the other, of one nothing is seen but that its lock is gone."""
    made, slept = [], []
    other = contextlib.ExitStack()
    for job in jobs[:2]:
        assert other.enter_context(locks.trying(job.lock))

    def sleep(seconds):
        slept.append((seconds, len(made)))
        if len(slept) == 2:
            tiny_tables.finish(jobs[0])
            other.close()

    monkeypatch.setattr(queue.time, "sleep", sleep)
    queue.work(jobs, lambda job: made.append(job) or tiny_tables.finish(job), look_every=5)
    assert slept == [(5, 6), (5, 6)]
    assert made == [*jobs[2:], jobs[1]]
    assert capsys.readouterr().out.count("Waits for 2 run(s) that others train") == 1


HOLD = """
import sys, time
from c3tf.io import locks
with locks.trying(sys.argv[1]) as taken:
    print(taken, flush=True)
    time.sleep(600)
"""


def test_the_lock_of_a_killed_process_is_gone_with_it(jobs, repository, monkeypatch):
    words = [sys.executable, "-c", HOLD, jobs[0].lock]
    with subprocess.Popen(words, cwd=repository, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "True\n"
        made = []

        def kill(seconds):
            assert made == jobs[1:]
            process.kill()
            process.wait()

        monkeypatch.setattr(queue.time, "sleep", kill)
        queue.work(jobs, lambda job: made.append(job) or tiny_tables.finish(job))
        process.kill()
    assert made == [*jobs[1:], jobs[0]]


def test_several_queues_share_the_work(jobs):
    made, together = [], threading.Barrier(3)

    def make(job):
        made.append(job.name)
        if len(made) <= 3:
            # All three are at work at the same time, each at another run.
            together.wait(30)
        tiny_tables.finish(job)

    workers = [
        threading.Thread(target=queue.work, args=(jobs, make), kwargs={"look_every": 0.01})
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert sorted(made) == sorted(job.name for job in jobs)
