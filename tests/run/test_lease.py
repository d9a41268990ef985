"""One process at a time on a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.run import claims
from smotext_ray.run import lease as module
from smotext_ray.run.claims import read_claims
from smotext_ray.run.directory import LEASE, Run
from smotext_ray.run.facts import InputFacts
from smotext_ray.run.lease import Lease, LeaseLost, hold
from smotext_ray.run.opening import new_manifest

ELSEWHERE = {"host": "other", "pid": 1, "process": "", "what": "expand", "since": "today"}


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(str(tmp_path / "run"))


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.05)


def claim_of_another(run: Run, age: float = 0.0, **facts) -> Path:
    content = json.dumps(ELSEWHERE | {"held": True, "renewed": time.time()} | facts)
    run.write(content.encode(), LEASE, "other.json")
    file = Path(run.at(LEASE, "other.json"))
    then = time.time() - age
    os.utime(file, (then, then))
    return file


def test_no_claim_is_left_behind(run):
    with hold(run, "augment"):
        (claim,) = read_claims(run)
        assert claim.facts["what"] == "augment" and claim.facts["held"]
        assert claim.facts["pid"] == os.getpid()
    assert read_claims(run) == []


def test_a_second_one_on_this_machine_is_refused_with_who_holds_it(run):
    with (
        hold(run, "augment"),
        pytest.raises(UserError, match=rf"smotext augment \(process {os.getpid()} on .*wait"),
        hold(run, "expand"),
    ):
        pass
    assert read_claims(run) == []


def test_a_claim_of_another_machine_that_is_renewed_is_respected(run):
    file = claim_of_another(run, age=5)
    threading.Timer(0.2, os.utime, [file]).start()
    with pytest.raises(UserError, match="smotext expand"), hold(run, "augment"):
        pass
    assert [claim.name for claim in read_claims(run)] == ["other.json"]


def test_a_claim_that_is_no_longer_renewed_expires(run, monkeypatch):
    monkeypatch.setattr(claims, "TTL_SECONDS", 0.5)
    claim_of_another(run)
    started = time.monotonic()
    with hold(run, "augment"):
        assert [claim.facts["what"] for claim in read_claims(run)] == ["augment"]
    assert time.monotonic() - started >= 0.4  # it might have lived until then


def test_a_claim_that_the_listing_lacks_is_written_again(run, monkeypatch):
    seen = []

    def late(run):
        seen.append(read_claims(run))
        return [] if len(seen) < 3 else seen[-1]

    monkeypatch.setattr(module, "read_claims", late)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    with hold(run, "augment"):
        (claim,) = read_claims(run)
    assert len(seen) > 3 and claim.name != seen[0][0].name


def test_a_process_that_died_here_is_not_waited_for(run):
    code = """if True:
        import os, sys
        from smotext_ray.run.lease import Lease
        from smotext_ray.run.directory import Run
        Lease(Run(sys.argv[1]), "augment").take()
        os._exit(9)  # as killed: nothing is given back
    """
    subprocess.run([sys.executable, "-c", code, run.uri], check=False)
    (left,) = read_claims(run)
    with hold(run, "augment"):
        (claim,) = read_claims(run)
    assert claim.name != left.name


def test_a_claim_that_cannot_be_read_counts_until_it_expires(run, monkeypatch):
    monkeypatch.setattr(claims, "TTL_SECONDS", 0.4)
    run.write(b"{", LEASE, "torn.json")
    started = time.monotonic()
    with hold(run, "augment"):
        assert len(read_claims(run)) == 1
    assert time.monotonic() - started >= 0.3


def test_a_claim_that_cannot_be_read_and_is_renewed_is_respected(run):
    run.write(b"{", LEASE, "torn.json")
    then = time.time() - 5
    os.utime(run.at(LEASE, "torn.json"), (then, then))
    threading.Timer(0.2, os.utime, [run.at(LEASE, "torn.json")]).start()
    with pytest.raises(UserError, match=r"claim lease/torn\.json cannot be read here"):
        hold(run, "augment").__enter__()


def test_of_many_that_ask_at_once_one_at_a_time_gets_it(run):
    inside, most, served = [], [], []

    def work(number: int) -> None:
        mine = Run(run.uri)
        lease = Lease(mine, "expand")
        while True:
            try:
                lease.take()
                break
            except UserError:
                time.sleep(0.02)
        inside.append(number)
        most.append(len(inside))
        time.sleep(0.05)
        inside.remove(number)
        served.append(number)
        lease.release()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(served) == [0, 1, 2, 3]
    assert max(most) == 1


def test_who_has_lost_it_is_stopped_and_saves_nothing(run):
    with pytest.raises(LeaseLost), hold(run, "augment"):
        (claim,) = read_claims(run)
        os.remove(run.at(LEASE, claim.name))  # as one does that took this one for dead
        time.sleep(5)  # it is interrupted
    assert not run.has("manifest.json")


def test_a_manifest_is_not_saved_without_the_lease(run, monkeypatch):
    monkeypatch.setattr(claims, "TTL_SECONDS", 0.1)
    monkeypatch.setattr(module, "RENEW_SECONDS", 60)
    facts = InputFacts(rows=0, class_counts={})
    manifest = new_manifest(RunConfig(), {}, "2026-01-01", facts)
    with pytest.raises(LeaseLost), hold(run, "augment"):
        (claim,) = read_claims(run)
        os.remove(run.at(LEASE, claim.name))
        time.sleep(0.2)  # asleep for longer than a claim lives
        manifest.save(run)
    assert not run.has("manifest.json")


# What a stall, a failed read or a hidden process must not do


class Store:
    """A run's file system with one operation replaced."""

    def __init__(self, run, **replaced):
        self._fs, self._replaced = run.fs, replaced

    def __getattr__(self, name):
        return self._replaced.get(name) or getattr(self._fs, name)


def test_a_renewal_that_stalled_does_not_bring_a_lost_lease_back(run, monkeypatch):
    monkeypatch.setattr(claims, "TTL_SECONDS", 0.3)
    monkeypatch.setattr(Lease, "keep", lambda self: None)
    slow, other = Lease(run, "augment"), Lease(Run(run.uri), "expand")
    slow.take()
    write = slow._write

    def stalls():
        time.sleep(0.5)
        other.take()
        write()

    monkeypatch.setattr(module, "identity", lambda pid: "")  # of another machine
    monkeypatch.setattr(slow, "_write", stalls)
    assert not slow.renew()
    with pytest.raises(LeaseLost):
        slow.check()
    other.check()
    assert [claim.name for claim in read_claims(run)] == [other.name]


def test_one_failed_read_does_not_delete_a_living_claim(run, monkeypatch):
    file = claim_of_another(run, age=5)

    def fails(path):
        monkeypatch.setattr(mine, "fs", run.fs)
        os.utime(file)  # its holder renews it
        raise OSError("503 slow down")

    mine = Run(run.uri)
    reads = []

    def open_input_stream(path):
        if path.endswith("other.json"):
            reads.append(path)
            if len(reads) == 1:
                raise OSError("503 slow down")
            os.utime(file)
        return run.fs.open_input_stream(path)

    monkeypatch.setattr(mine, "fs", Store(run, open_input_stream=open_input_stream))
    with pytest.raises(UserError, match="smotext expand"), hold(mine, "augment"):
        pass
    assert len(reads) > 1 and file.exists()


@pytest.mark.parametrize(("kernel_says", "dead"), [(PermissionError, False), (None, False)])
def test_a_process_that_proc_hides_is_not_taken_for_dead(monkeypatch, kernel_says, dead):
    alive = claims.Claim("a", time.time(), {"pid": 7, "process": "boot ns 12"})

    def kill(pid, number):
        if kernel_says:
            raise kernel_says

    monkeypatch.setattr(claims, "identity", lambda pid: "" if pid == 7 else "boot ns 99")
    monkeypatch.setattr(os, "kill", kill)
    assert alive.is_over(time.time()) is dead


def test_a_process_that_the_kernel_does_not_know_is_dead(monkeypatch):
    def kill(pid, number):
        raise ProcessLookupError

    monkeypatch.setattr(claims, "identity", lambda pid: "" if pid == 7 else "boot ns 99")
    monkeypatch.setattr(os, "kill", kill)
    facts = {"pid": 7, "process": "boot ns 12"}
    assert claims.Claim("a", time.time(), facts).is_over(time.time())
    elsewhere = facts | {"process": "otherboot ns 12"}
    assert not claims.Claim("a", time.time(), elsewhere).is_over(time.time())


def test_with_sigint_ignored_a_lost_lease_still_stops_the_work(run):
    code = """if True:
        import os, signal, sys, time
        from smotext_ray.run import lease
        from smotext_ray.run.claims import read_claims
        from smotext_ray.run.directory import Run
        lease.RENEW_SECONDS = 0.1
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a background job of sh
        run = Run(sys.argv[1])
        try:
            with lease.hold(run, "augment"):
                (claim,) = read_claims(run)
                os.remove(run.at("lease", claim.name))
                time.sleep(20)
        except lease.LeaseLost:
            print("stopped")
    """
    started = time.monotonic()
    told = subprocess.run(
        [sys.executable, "-c", code, run.uri], capture_output=True, text=True, check=True
    )
    assert told.stdout == "stopped\n" and time.monotonic() - started < 15


def test_sigterm_releases_the_lease(run):
    code = """if True:
        import os, signal, sys, time
        from smotext_ray.run.directory import Run
        from smotext_ray.run.lease import hold
        with hold(Run(sys.argv[1]), "augment"):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(20)
    """
    ended = subprocess.run([sys.executable, "-c", code, run.uri], check=False)
    assert ended.returncode == 128 + 15 and read_claims(run) == []


def test_a_release_during_a_renewal_leaves_no_claim(run, monkeypatch):
    began = threading.Event()
    write = Lease._write

    def slow(self):
        if threading.current_thread() is not threading.main_thread():
            began.set()
            time.sleep(0.3)
        write(self)

    monkeypatch.setattr(Lease, "_write", slow)
    with hold(run, "augment"):
        began.wait(5)
    assert read_claims(run) == []
    with hold(run, "expand"):
        pass
