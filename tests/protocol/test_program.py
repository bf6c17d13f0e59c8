# SPDX-License-Identifier: BSD-3-Clause
"""The program: its command line, signals, sockets, statistics, trace, and the test build's stray accesses."""
import json
import os
import signal
import socket
import subprocess

import pytest

import blk as b
import servers
import vhost_user as vu
from driver import PAGE
from hostile import serves_on
from images import Image
from rules import forbidden
from test_negotiation import PLAIN, accept_and_go_on
from vhost_user import must


def run(*arguments, timeout=vu.PATIENCE):
    servers.needs(servers.VIODMA)
    try:
        return subprocess.run([servers.VIODMA, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              timeout=timeout)
    except subprocess.TimeoutExpired:
        raise vu.Violation(f"viodma {' '.join(arguments)} does not end") from None


@pytest.mark.parametrize("more", [[], ["--socket-path=/nowhere/at/all", "--blk-file=/none"]])
def test_print_capabilities_prints_json_and_does_nothing_else(more):
    ended = run("serve", "blk", "--print-capabilities", *more)
    must(ended.returncode == 0, f"exit {ended.returncode}: {ended.stderr}")
    said = json.loads(ended.stdout)
    must(said["type"] == "block" and set(said["features"]) == {"read-only", "blk-file"}, f"{said}")


@pytest.mark.parametrize("arguments, named", [
    (["serve", "blk", "--no-such-option"], "no-such-option"),
    (["serve", "blk", "--blk-file=x"], "socket-path|--fd|device"),
    (["serve", "blk", "--socket-path=x"], "blk-file"),
    (["serve", "blk", "--socket-path=x", "--fd=3", "--blk-file=y"], "fd|socket-path"),
    (["serve", "blk", "--platform-dma=perhaps", "--socket-path=x", "--blk-file=y"], "platform-dma|perhaps"),
    (["serve", "blk", "--io=magic", "--socket-path=x", "--blk-file=y"], "magic|--io"),
    (["serve", "blk", "--blk-size=1000", "--socket-path=x", "--blk-file=y"], "blk-size|1000"),
    (["serve", "blk", "--blk-size=0", "--socket-path=x", "--blk-file=y"], "blk-size"),
    (["serve", "blk", "--serial=" + "x" * 21, "--socket-path=x", "--blk-file=y"], "serial"),
    (["serve", "blk", "--iotlb-entries=-1", "--socket-path=x", "--blk-file=y"], "iotlb-entries"),
    (["serve", "blk", "--revoke-timeout-ms=soon", "--socket-path=x", "--blk-file=y"], "revoke-timeout-ms"),
    (["serve", "blk", "--device", "blk,path=x"], "file"),
    (["serve", "blk", "--device", "blk,file=x"], "path"),
    (["serve", "blk", "--device", "net,path=x,file=y"], "net"),
    (["serve", "blk", "--device", "blk,path=x,file=y,colour=red"], "colour"),
    (["serve", "nosuchdevice"], "nosuchdevice"), (["nosuchcommand"], "nosuchcommand"), (["serve"], "blk"),
    (["serve", "blk", "--test-socket=x", "--socket-path=x", "--blk-file=y"], "test-socket"),
    (["serve", "blk", "--socket-path=x", "--blk=y"], "--blk=y"),
    (["serve", "blk", "--socket-path=x", "--blk-f", "y"], "expected --blk-file"),
    (["serve", "blk", "--socket-path=x", "--blk-file=y", "--blk-file=z"], "--blk-file: is there twice"),
    (["serve", "blk", "--device", "blk,path=x,file=y,file=z"], "file= is there twice"),
    (["serve", "blk", "--fd=0", "--blk-file=y"], "--fd: '0'"),
    (["serve", "blk", "--socket-path=x", "--blk-file=y", "--stats-json=z", "--trace-json=z"], "both are 'z'"),
    (["--version", "more"], "'more' after --version"), (["--help", "more"], "'more' after --help"),
], ids=lambda v: "-".join(v[1:])[:40] if isinstance(v, list) else "")
def test_a_mistake_on_the_command_line_is_named(arguments, named, tmp):
    ended = run(*arguments)
    must(ended.returncode > 0, f"exit {ended.returncode}: {ended.stderr}")
    must(any(part in ended.stderr for part in named.split("|")), f"the message names none of {named}: {ended.stderr}")
    must(ended.stderr.count("\n") < 40, "a screenful for one mistake")


def test_an_fd_that_is_connected_is_served(start, image):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    os.set_inheritable(theirs.fileno(), True)
    serve = start(image, fd=theirs.fileno())
    theirs.close()
    with b.driving(sock=ours, iommu=True) as blk:
        must(blk.read(3, 512) == image.bytes[1536:2048], "wrong bytes")
    must(serve.process.wait(vu.PATIENCE) == 0, f"exit {serve.process.returncode} when its front end had gone")
    serve.read_stats()
    serve.finished = True


def test_an_fd_that_listens_is_served(start, image, tmp):
    path = os.path.join(tmp, "listening.sock")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(4)
    serve = start(image, fd=listener.fileno())
    listener.close()
    for n in range(2):
        with b.driving(path, iommu=True) as blk:
            must(blk.read(n, 512) == image.bytes[n * 512:n * 512 + 512], "wrong bytes")
    serve.must_live()


@pytest.mark.parametrize("kind", ["closed", "file", "not-a-socket"])
def test_an_fd_that_is_no_socket_is_refused(image, kind):
    servers.needs(servers.VIODMA)
    fd = os.open("/dev/null" if kind == "not-a-socket" else image.path, os.O_RDWR)
    os.set_inheritable(fd, True)
    number = 77 if kind == "closed" else fd
    ended = subprocess.run([servers.VIODMA, "serve", "blk", f"--fd={number}", f"--blk-file={image}"],
                           pass_fds=[fd], capture_output=True, text=True, timeout=vu.PATIENCE, stdin=subprocess.DEVNULL)
    os.close(fd)
    must(ended.returncode > 0 and ended.stderr, f"exit {ended.returncode}: {ended.stderr}")


def test_a_stale_socket_is_replaced(start, image, tmp):
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stale.bind(os.path.join(tmp, "serve0-0.sock"))
    stale.close()
    serves_on(start(image), image)


def test_a_file_that_is_no_socket_is_not_replaced(tmp, image):
    path = os.path.join(tmp, "precious")
    with open(path, "w") as file:
        file.write("do not delete")
    ended = run("serve", "blk", f"--socket-path={path}", f"--blk-file={image}")
    must(ended.returncode == 1, f"exit {ended.returncode}")
    must(ended.stderr.splitlines()[-1] == f"viodma: blk0: cannot listen on {path}: is not a socket", ended.stderr)
    with open(path) as file:
        must(file.read() == "do not delete", "a file that is no socket was replaced")


def test_a_socket_in_a_directory_that_is_not_there_is_named(tmp, image):
    ended = run("serve", "blk", f"--socket-path={tmp}/no/where", f"--blk-file={image}")
    must(ended.returncode > 0 and f"{tmp}/no/where" in ended.stderr, f"exit {ended.returncode}: {ended.stderr}")
    long = f"{tmp}/" + "x" * 120
    ended = run("serve", "blk", f"--socket-path={long}", f"--blk-file={image}")
    must(ended.returncode > 0 and ended.stderr, f"a path longer than a socket's name: exit {ended.returncode}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("when", ["idle", "connected", "parked"])
def test_a_signal_ends_it_with_0_and_statistics(start, image, number, when):
    serve = start(image)
    blk = None
    if when != "idle":
        blk = b.Blk(serve.path, iommu=True)
        blk.start()
        blk.still_works()
        if when == "parked":
            blk.domain.policy = blk.domain.keep
            blk.offer(blk.make(b.IN, 3, length=512))
            blk.front_end.stay(0.05)
    serve.process.send_signal(number)
    must(serve.process.wait(vu.PATIENCE) == 0, f"exit {serve.process.returncode}")
    stats = serve.read_stats()
    must(stats["devices"][0]["requests"]["in"] == (0 if when == "idle" else 1), f"{stats['devices'][0]['requests']}")
    if blk:
        blk.close()
    serve.finished = True


def test_sigusr1_writes_whole_statistics_every_time(start, image):
    serve = start(image)
    with b.driving(serve.path, iommu=True) as blk:
        for n in range(10):
            blk.still_works()
            stats = serve.stats()
            device = stats["devices"][0]
            must(device["requests"]["in"] == n + 1, f"after {n + 1} reads: {device['requests']}")
            must({"name", "type", "socket", "file", "connected", "features_accepted", "platform_dma", "requests", "bytes",
                  "translations", "identity_translations", "iotlb", "region_bytes", "reachable_bytes",
                  "reachable_bytes_peak", "faults", "sessions"} <= set(device), f"keys {sorted(device)}")
            must(device["type"] == "blk" and device["socket"] == serve.path and device["file"] == image.path, f"{device}")


@pytest.mark.parametrize("option", ["--stats-json", "--trace-json"])
@pytest.mark.parametrize("where", ["no/where.json", ""])
def test_a_file_that_cannot_be_written_is_named_at_the_start(tmp, image, option, where):
    ended = run("serve", "blk", f"--socket-path={tmp}/s", f"--blk-file={image}", f"{option}={tmp}/{where}")
    must(ended.returncode == 1 and f"{option} {tmp}/{where}" in ended.stderr,
         f"exit {ended.returncode}: {ended.stderr}")
    must(not os.path.exists(f"{tmp}/s"), "it has listened")


def test_statistics_do_not_replace_what_is_no_file(tmp, image):
    os.mkfifo(f"{tmp}/fifo")
    ended = run("serve", "blk", f"--socket-path={tmp}/s", f"--blk-file={image}", f"--stats-json={tmp}/fifo")
    must(ended.returncode == 1 and "is not a regular file" in ended.stderr, f"exit {ended.returncode}: {ended.stderr}")


def test_two_names_of_one_file_are_not_statistics_and_trace(tmp, image):
    ended = run("serve", "blk", f"--socket-path={tmp}/s", f"--blk-file={image}", f"--stats-json={tmp}/a",
                f"--trace-json={tmp}/./a")
    must(ended.returncode == 1 and "is the file of --trace-json" in ended.stderr,
         f"exit {ended.returncode}: {ended.stderr}")


def test_statistics_that_cannot_be_written_any_more_do_not_stop_the_device_but_its_exit_says_so(tmp, image):
    servers.needs(servers.VIODMA)
    os.mkdir(f"{tmp}/gone")
    program = servers.Program([servers.VIODMA, "serve", "blk", "--socket-path", f"{tmp}/s", f"--blk-file={image}",
                               f"--stats-json={tmp}/gone/where.json"], tmp, "nostats")
    try:
        program.wait_for(lambda: "listening" in program.log(), "its start", 5)
        os.rmdir(f"{tmp}/gone")
        program.process.send_signal(signal.SIGUSR1)
        program.expect_log("gone/where.json")
        with b.driving(f"{tmp}/s", iommu=True) as blk:
            blk.still_works()
        program.process.terminate()
        must(program.process.wait(vu.PATIENCE) == 1, f"exit {program.process.returncode}")
    finally:
        program.kill()


def test_an_image_is_written_by_one_program_at_a_time(start, image, tmp):
    serve = start(image)
    for more, expected in (([], 1), (["--read-only"], 1)):
        ended = run("serve", "blk", f"--socket-path={tmp}/other", f"--blk-file={image}", *more)
        must(ended.returncode == expected and image.path in ended.stderr and "is in use" in ended.stderr,
             f"exit {ended.returncode}: {ended.stderr}")
    must(not os.path.exists(f"{tmp}/other"), "it has listened")
    serves_on(serve, image)


def test_a_size_that_does_not_fit_is_one_size(tmp):
    path = os.path.join(tmp, "odd")
    with open(path, "wb") as file:
        file.truncate(5000)
    ended = run("serve", "blk", f"--socket-path={tmp}/s", f"--blk-file={path}", "--blk-size=4096")
    must(ended.returncode == 1 and ended.stderr.count("has 5000 bytes") == 2, f"{ended.stderr}")


def test_a_path_and_an_fd_are_one_too_many(image):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        ended = subprocess.run([servers.VIODMA, "serve", "blk", "--socket-path=x", f"--fd={sock.fileno()}",
                                f"--blk-file={image}"], pass_fds=[sock.fileno()], capture_output=True, text=True,
                               timeout=vu.PATIENCE, stdin=subprocess.DEVNULL)
    must(ended.returncode == 2 and "expected only one of them" in ended.stderr, f"{ended.stderr}")


@pytest.mark.parametrize("kind", ["unconnected", "internet"])
def test_an_fd_no_front_end_can_come_on_is_refused(image, kind):
    sock = socket.socket(socket.AF_INET if kind == "internet" else socket.AF_UNIX, socket.SOCK_STREAM)
    ended = subprocess.run([servers.VIODMA, "serve", "blk", f"--fd={sock.fileno()}", f"--blk-file={image}"],
                           pass_fds=[sock.fileno()], capture_output=True, text=True, timeout=vu.PATIENCE,
                           stdin=subprocess.DEVNULL)
    sock.close()
    must(ended.returncode == 1, f"exit {ended.returncode}: {ended.stderr}")
    must("neither listens nor is connected" in ended.stderr or "not a Unix stream socket" in ended.stderr, ended.stderr)


def test_every_event_is_one_line_that_begins_with_the_device(start, image, tmp):
    second = Image(os.path.join(tmp, "second.img"), seed=3)
    serve = start([image.path, second.path])
    for path in serve.sockets:
        with b.driving(path, iommu=True) as blk:
            blk.still_works()
    serve.must_hold_no_more_fds()
    lines = serve.log().splitlines()
    must(lines and all(line.startswith("viodma: ") and line.count("viodma: ") == 1 for line in lines), f"{lines}")
    for name in ("blk0", "blk1"):
        must(sum(line.startswith(f"viodma: {name}: ") for line in lines) >= 2, f"few events of {name}: {lines}")


def test_device_options_are_each_devices_own(start, image, tmp):
    second = Image(os.path.join(tmp, "second.img"), seed=3)
    serve = start([image.path, second.path], per_device=[",ro=on,serial=first", ",serial=second,blk-size=4096"])
    with b.driving(serve.sockets[0]) as first, b.driving(serve.sockets[1]) as other:
        must(first.offered & vu.F_BLK_RO and not other.offered & vu.F_BLK_RO, "ro")
        must(first.get_id().rstrip(b"\0") == b"first" and other.get_id().rstrip(b"\0") == b"second", "serials")
        must(other.config(20, 4) == (4096).to_bytes(4, "little"), "blk-size")


def test_the_trace_says_what_was_granted_and_touched_and_refused(start, image, tmp):
    trace = os.path.join(tmp, "trace.json")
    serve = start(image, f"--trace-json={trace}")
    with b.driving(serve.path, iommu=True) as blk:
        request = blk.map(blk.make(b.IN, 0, length=512))
        must(blk.run(request) == b.OK, "the read failed")
        data = blk.data_address(request)
        blk.domain.revoke(data, 512)
        again = blk.map(blk.make(b.IN, 0, length=512))
        again.chain[1] = (data, 512, 2)
        blk.offer(again)
        must(blk.wait(again) == b.IOERR, "a revoked buffer was used")
        place = request.data[0][0]
    must(serve.terminate() == 0, "exit")
    serve.finished = True
    with open(trace) as file:
        events = [json.loads(line) for line in file]
    kinds = {e["event"] for e in events}
    must({"grant", "touch", "revoke", "fault", "start", "stop"} <= kinds, f"events {kinds}")
    must(all(isinstance(e["t_ns"], int) for e in events), "events without time")
    times = [e["t_ns"] for e in events]
    must(times == sorted(times), "time runs backwards")

    def at(kind, bus):
        return [e for e in events if e["event"] == kind and int(e["bus"], 16) <= bus < int(e["bus"], 16) + e["len"]]
    granted = [e for e in at("grant", data) if int(e["phys"], 16) + data - int(e["bus"], 16) == place]
    must(granted and granted[0]["perm"] == "w", f"grants of the data {at('grant', data)}")
    must([e for e in at("touch", data) if int(e["phys"], 16) + data - int(e["bus"], 16) == place], "no touch of the data")
    must(at("revoke", data), "no revocation of the data")
    must(at("fault", data) and at("fault", data)[0]["requirement"] in ("DEV-9", "DEV-10"), f"{at('fault', data)}")


# -- the test build --------------------------------------------------------------------------------------

def answer_to(blk, path, line, timeout=vu.PATIENCE):
    """Asks the test socket while the IOMMU goes on answering."""
    sock = b.connect(path)
    sock.sendall(line.encode() + b"\n")
    sock.setblocking(False)
    said = b""

    def come():
        nonlocal said
        try:
            said += sock.recv(65536)
        except BlockingIOError:
            pass
        return said.endswith(b"\n")
    blk.front_end.wait_until(come, f"an answer to {line!r}", timeout)
    sock.close()
    return said.decode().strip()


@forbidden("DEV-10", "DEV-3")
def test_a_stray_read_of_the_device_is_refused(lab):
    control = os.path.join(lab.tmp, "test.sock")
    serve = lab.serve(f"--test-socket={control}", test_build=True)
    with lab.drive(serve, iommu=True) as blk:
        blk.still_works()
        secret = blk.memory.alloc(PAGE)
        said = answer_to(blk, control, f"stray-read {secret:#x} 32")
        must(said.startswith("refused ") and said.split()[1] in ("DEV-9", "DEV-10")
             and int(said.split()[2], 16) == secret, f"it said {said}")
        must(blk.memory.read(secret, 32).hex() not in said.lower(), "the secret was read")
        blk.still_works()


@forbidden("DEV-10", "DEV-3", "DEV-9")
def test_a_stray_write_of_the_device_is_refused(lab):
    control = os.path.join(lab.tmp, "test.sock")
    serve = lab.serve(f"--test-socket={control}", test_build=True)
    with lab.drive(serve, iommu=True) as blk:
        request = blk.map(blk.make(b.OUT, 0, lab.image.bytes[:512]))
        must(blk.run(request) == b.OK, "a write failed")
        target = blk.data_address(request) if lab.mutant == "DEV-9" or lab.mutant is None else blk.memory.alloc(PAGE)
        phys = request.data[0][0] if target == blk.data_address(request) else target
        before = blk.memory.read(phys, 64)
        said = answer_to(blk, control, f"stray-write {target:#x} 64")
        must(said.startswith("refused "), f"it said {said}")
        must(blk.memory.read(phys, 64) == before, "it was written")
        blk.still_works()


def test_a_stray_read_where_bit_33_is_clear_succeeds(start, image, tmp):
    """The control of the two tests above: clear means all memory, and the test request itself works."""
    control = os.path.join(tmp, "test.sock")
    serve = start(image, f"--test-socket={control}", test_build=True)
    with b.driving(serve.path) as blk:
        blk.still_works()
        secret = blk.memory.alloc(PAGE)
        said = answer_to(blk, control, f"stray-read {secret:#x} 32")
        must(said.lower() == f"read {blk.memory.read(secret, 32).hex()}", f"it said {said}")


def test_the_sound_build_knows_no_mutants(start, image):
    serve = start(image, "--platform-dma=off", env={"VIODMA_MUTANT": "DEV-5,DEV-9,DEV-10"})
    accept_and_go_on(serve, PLAIN | vu.F_ACCESS_PLATFORM, "DEV-5")
