# SPDX-License-Identifier: BSD-3-Clause
"""`viodma check` against what is no device, or a broken one: a clear message, a stated end, nothing left behind.

How it works: bad_peers.py listens. What could not be checked at all is exit status 2, with a reason; where it had
begun, there is a verdict, and exit status 1.
"""
import os
import pathlib
import re
import signal
import struct
import subprocess
import time

import pytest

import bad_peers
from bad_peers import GREETING, listening

PROGRAM = os.environ.get("VIODMA", "build/viodma")
QUICK_MS = 150
SLACK_S = 2.5 if not os.environ.get("VIODMA_SANITIZED") else 10


def check(path, *options, timeout_ms=QUICK_MS, limit_s=60, descriptors=40):
    """Its result, and how long it took. It has few descriptors: a leak is noticed."""
    began = time.monotonic()
    words = [PROGRAM, "check", "device", "--socket-path", path, "--type", "blk", *options]
    if timeout_ms:
        words += ["--timeout-ms", str(timeout_ms)]
    done = subprocess.run(["prlimit", f"--nofile={descriptors}", *map(str, words)], capture_output=True, text=True,
                          timeout=limit_s)
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    return done, time.monotonic() - began


def could_not_run(done, *words):
    assert done.returncode == 2, done.stdout + done.stderr
    assert re.fullmatch(r"viodma check: [^\n]+\n", done.stderr) and not done.stdout, done.stdout + done.stderr
    for word in words:
        assert word in done.stderr
    return True


HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
NONE = {
    "HTTP": (bad_peers.sends_and_closes(HTTP), "no vhost-user back end"),
    "garbage": (bad_peers.sends(bytes(range(256)) * 64), "no vhost-user back end"),
    "half a header": (bad_peers.sends_and_closes(b"\1\0\0\0\5"), "no vhost-user back end"),
    "half a header, then nothing": (bad_peers.sends(b"\1\0\0\0\5"), "did not answer GET_FEATURES to the end"),
    "a huge answer": (bad_peers.sends(struct.pack("<III", 1, 5, 0xffffffff)), "4294967295 bytes"),
    "an answer to something else": (bad_peers.sends(struct.pack("<IIIQ", 15, 5, 8, 0)), "there came request 15"),
    "a short answer": (bad_peers.sends(struct.pack("<IIII", 1, 5, 4, 0)), "4 bytes, not 8"),
    "no reply but a request": (bad_peers.sends(struct.pack("<IIIQ", 1, 1, 8, 0)), "flags 0x1"),
    "the end": (bad_peers.closes, "closed the connection"),
    "silence": (bad_peers.is_silent, "did not answer GET_FEATURES within"),
}


@pytest.mark.parametrize("kind", NONE)
def test_what_is_no_back_end_is_said_to_be_none(tmp_path, kind):
    misbehave, words = NONE[kind]
    with listening(tmp_path / "s", misbehave) as path:
        done, took = check(path)
    assert could_not_run(done, str(path), words) and took < SLACK_S


def test_nobody_there(tmp_path):
    done, took = check(tmp_path / "s")
    assert could_not_run(done, "No such file or directory") and took < SLACK_S


def test_a_file_is_no_socket(tmp_path):
    (tmp_path / "s").write_text("")
    done, _took = check(tmp_path / "s")
    assert could_not_run(done, "Connection refused")


def test_nobody_accepts(tmp_path):
    """The queue of connections is full."""
    listener, waiting = bad_peers.socket.socket(bad_peers.socket.AF_UNIX), []
    listener.bind(str(tmp_path / "s"))
    listener.listen(0)
    while len(waiting) < 10:
        waiting.append(bad_peers.socket.socket(bad_peers.socket.AF_UNIX))
        waiting[-1].setblocking(False)
        if waiting[-1].connect_ex(str(tmp_path / "s")):
            break
    done, took = check(tmp_path / "s")
    assert could_not_run(done, "Resource temporarily unavailable") and took < SLACK_S
    for each in (listener, *waiting):
        each.close()


@pytest.mark.parametrize("manner", ["is_silent", "closes"])
@pytest.mark.parametrize("at", range(GREETING))
def test_in_the_middle_of_the_greeting(tmp_path, manner, at):
    with listening(tmp_path / "s", getattr(bad_peers, manner), at) as path:
        done, took = check(path)
    assert could_not_run(done) and took < SLACK_S


@pytest.mark.parametrize("at", [*range(GREETING, GREETING + 20, 2)])
def test_silent_from_a_step_on(tmp_path, at):
    """A peer that is silent is not waited for in the other eighty cases."""
    with listening(tmp_path / "s", bad_peers.is_silent, at) as path:
        done, took = check(path)
    assert done.returncode == 1 and took < SLACK_S, f"{took} s\n" + done.stdout + done.stderr
    assert re.search(r"^fail .*\n.*\n.*(did not answer|not used within)", done.stdout, re.M), done.stdout
    assert "not exercised, because the device no longer answers" in done.stdout


def test_silent_with_the_usual_timeout(tmp_path):
    with listening(tmp_path / "s", bad_peers.is_silent, GREETING + 1) as path:
        done, took = check(path, timeout_ms=None)
    assert done.returncode == 1 and took < 5


@pytest.mark.parametrize("at", [*range(GREETING, GREETING + 10, 2)])
def test_closed_at_a_step(tmp_path, at):
    with listening(tmp_path / "s", bad_peers.closes, at) as path:
        done, took = check(path)
    assert done.returncode == 1 and took < 10, f"{took} s\n" + done.stdout + done.stderr
    assert "closed the connection" in done.stdout


@pytest.mark.parametrize("data", [HTTP, bytes(4096), struct.pack("<IIIQ", 1, 5, 8, 0)], ids=["text", "zeros", "an answer"])
@pytest.mark.parametrize("at", [GREETING, GREETING + 3, GREETING + 12])
def test_garbage_at_a_step_is_a_verdict(tmp_path, at, data):
    with listening(tmp_path / "s", bad_peers.sends(data), at) as path:
        done, took = check(path)
    assert done.returncode == 1 and took < 10, f"{took} s\n" + done.stdout + done.stderr


@pytest.mark.parametrize("message", [bad_peers.miss(), bad_peers.miss(bad_peers.NEED_REPLY), struct.pack("<III", 99, 1, 0),
                                     struct.pack("<III", 1, 1, 0x7fffffff), b"\xff" * 12],
                         ids=["misses", "misses that want replies", "unknown messages", "huge messages", "garbage"])
def test_a_flood_on_the_channel(tmp_path, message):
    with listening(tmp_path / "s", bad_peers.floods(message), GREETING) as path:
        done, took = check(path, limit_s=120)
    assert done.returncode == 1 and took < 15, f"{took} s\n" + done.stdout + done.stderr


def test_slow_byte_by_byte(tmp_path):
    """An answer takes 0.8 s: within the usual second, in each of 25 messages in each of 80 cases."""
    with listening(tmp_path / "s", bad_peers.is_slow, GREETING) as path:
        done, took = check(path, timeout_ms=None, limit_s=120)
    assert done.returncode == 1 and took < 5 + SLACK_S, f"{took} s\n" + done.stdout + done.stderr
    assert "took more than 2000 ms for its answers" in done.stdout


def test_descriptors_nobody_asked_for_are_closed(tmp_path):
    """253 with each answer; there is room for a few of them in the process, and it ends as without them."""
    with listening(tmp_path / "s", bad_peers.adds_descriptors) as path:
        done, _took = check(path, "--only", "platform-offered,platform-without-version-1,buffer-at-zero", descriptors=400)
    with listening(tmp_path / "t", lambda connection, answer: answer and connection.sock.sendall(answer)) as path:
        without, _took = check(path, "--only", "platform-offered,platform-without-version-1,buffer-at-zero")
    verdicts = [re.findall(r"^(?:pass|fail|observation) .*", each.stdout, re.M) for each in (done, without)]
    assert verdicts[0] == verdicts[1] and verdicts[0] and done.returncode == without.returncode


def test_one_that_serves_one_connection_is_pointed_to_the_option(tmp_path):
    with listening(tmp_path / "s", bad_peers.is_silent, 10**9, connections=1) as path:
        done, took = check(path)
    assert could_not_run(done, "--command") and took < SLACK_S


def test_the_case_that_a_device_did_not_survive_has_failed(tmp_path):
    """The second connection is the first case's."""
    with listening(tmp_path / "s", bad_peers.closes, 10**9, connections=2) as path:
        done, took = check(path, "--only", "platform-offered,platform-without-version-1,buffer-at-zero")
    assert done.returncode == 1 and took < 10, done.stdout
    assert "after it the device is not there any more" in done.stdout


# ---- commands ----

def left_over(mark):
    """Processes with this in their arguments."""
    found = []
    for each in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes()
        except OSError:
            continue
        if mark.encode() in words:
            found.append(words)
    return found


def test_a_command_that_ends_at_once(tmp_path):
    done, took = check(tmp_path / "s", "--command", "exit 3")
    assert could_not_run(done, "it ended with status 3") and took < SLACK_S


def test_a_command_that_never_listens(tmp_path):
    done, took = check(tmp_path / "s", "--command", f"sh -c 'sleep 1000; :' '{tmp_path}/mark'; :")
    assert could_not_run(done, "No such file or directory") and took < SLACK_S
    assert left_over(f"{tmp_path}/mark") == []


STUBBORN = "trap '' TERM; sh -c \"trap '' TERM; while :; do sleep 0.05; done\" '{mark}' & wait; wait"


def test_what_a_command_leaves_behind_is_ended_even_if_it_will_not(tmp_path):
    done, _took = check(tmp_path / "s", "--command", STUBBORN.format(mark=tmp_path))
    assert could_not_run(done)
    assert left_over(f"done\0{tmp_path}") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_as_well(tmp_path, number):
    mark = f"{tmp_path}/mark"
    process = subprocess.Popen([PROGRAM, "check", "device", "--socket-path", tmp_path / "s", "--type", "blk", "--timeout-ms",
                                "20000", "--command", f"sh -c 'sleep 1000; :' {mark}"], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 10
    while not any(words.startswith(b"sh\0-c\0sleep") for words in left_over(mark)) and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(10) == -number
    time.sleep(0.2)
    assert left_over(mark) == []


def test_nothing_is_left_open_between_cases(tmp_path):
    """As many descriptors at the end as at the beginning: a run of all cases, looked at from outside."""
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(8 << 20))
    with open(tmp_path / "log", "wb") as log:
        serve = subprocess.Popen([PROGRAM, "serve", "blk", "--socket-path", tmp_path / "s", "--blk-file", disk], stderr=log)
    try:
        end = time.monotonic() + 10
        while not (tmp_path / "s").exists() and time.monotonic() < end:
            time.sleep(0.01)
        done, _took = check(tmp_path / "s", timeout_ms=None, descriptors=32)
    finally:
        serve.terminate()
        serve.wait(10)
    assert done.returncode == 0, done.stdout + done.stderr
