#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""docs/numbers.md from one run: what `make numbers` calls.

How it works: each measurement is a program of its own that writes JSON into
BUILD/numbers; what fails leaves the reason there in place of numbers. Then the page
is made of those files alone (--from-files makes it again without measuring). Goals
are functions from the files to a number; whether one is met is a comparison. For a
goal that is missed the functions that cost most stand beside it, from callgrind.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from goals import GOALS, Files, Missing  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
DOMAINS = [
    ("raw", "no DMA layer: the same rings, addresses are pointers"),
    ("direct-clear", "bit 33 clear"),
    ("direct", "bit 33 set, the platform is direct"),
    ("offset", "bus addresses at an offset"),
    ("iommu-premapped", "an IOMMU, buffers stay mapped"),
    ("bounce", "everything copied through the pool"),
    ("restricted", "... and the device half has nothing else"),
    ("iommu-deferred", "map and unmap for each request, invalidated together; parts of pages are copied through a pool "
                       "that stays mapped"),
    ("iommu-strict", "... invalidated at each unmap"),
    ("bounce+iommu", "everything copied, each run mapped"),
]
SIZES = [64, 1500, 4096, 65536, 262145]


def steps(build: Path, out: Path, quick: bool) -> list[tuple[str, list[str], int]]:
    """Name of the file, command, seconds it may take. `>` as the last word: its output is the file."""
    python = sys.executable
    viodma = str(build / "viodma")
    return [
        ("bench", [viodma, "bench", "--json", str(out / "bench.json"), "--html", str(out / "bench.html"),
                   *(["--quick"] if quick else [])], 400),
        ("instructions", [python, str(ROOT / "bench/instructions"), "--viodma", viodma, "--json",
                          str(out / "instructions.json")], 120),
        ("peers", [python, str(ROOT / "bench/peers/run"), "--build", str(build), "--json", str(out / "peers.json"),
                   *(["--rounds", "3"] if quick else [])], 400),
        ("iotlb", [python, str(ROOT / "bench/iotlb_runs"), "--program", str(build / "bench/bench-iotlb"),
                   *(["--quick", "--processes", "3"] if quick else []), ">"], 180),
        ("misses", [str(build / "bench/bench-misses"), "--json", *(["--quick"] if quick else []), ">"], 60),
        ("size", [python, str(ROOT / "bench/size"), "--json", str(out / "size.json")], 240),
    ]


def measure(build: Path, out: Path, quick: bool, only: list[str] | None) -> None:
    """Run each step; a file is there for each, with numbers or with `not_run`."""
    out.mkdir(parents=True, exist_ok=True)
    for name, command, seconds in steps(build, out, quick):
        if only and name not in only:
            continue
        path = out / f"{name}.json"
        path.unlink(missing_ok=True)
        began = time.monotonic()
        print(f"numbers: {name}", file=sys.stderr, flush=True)
        why = None
        try:
            to_file = command[-1] == ">"
            done = subprocess.run(command[:-1] if to_file else command, timeout=seconds, check=False, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
            if to_file and done.returncode == 0:
                path.write_text(done.stdout)
            if done.returncode and not path.exists():
                why = f"exit status {done.returncode}: {(done.stderr.strip().splitlines() or ['no message'])[-1][:160]}"
        except subprocess.TimeoutExpired:
            why = f"took more than {seconds} s"
        except OSError as error:
            why = error.strerror or type(error).__name__
        if why or not path.exists():
            path.write_text(json.dumps({"not_run": why or "it wrote nothing"}) + "\n")
        print(f"numbers: {name}: {time.monotonic() - began:.0f} s{': ' + why if why else ''}", file=sys.stderr, flush=True)
    (out / "machine.json").write_text(json.dumps(machine(), indent=1) + "\n")


def machine() -> dict:
    """What it was measured on: no name, no path."""
    info = Path("/proc/cpuinfo").read_text()
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())

    def of(key: str) -> str:
        found = re.search(rf"^{key}\s*:\s*(.*)$", info, re.M)
        return found.group(1).strip() if found else "not said"

    compiler = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=False).stdout.splitlines()
    return {"processor": of("model name"), "family_model_stepping": "/".join(map(of, ("cpu family", "model", "stepping"))),
            "mhz": of("cpu MHz"), "cache": of("cache size"), "processors": len(os.sched_getaffinity(0)),
            "virtual": "hypervisor" in info, "memory_gib": round(int(memory.group(1)) / 2 ** 20) if memory else 0,
            "kernel": platform.release(), "architecture": platform.machine(),
            "compiler": compiler[0] if compiler else "not said", "day": time.strftime("%Y-%m-%d", time.gmtime())}


# ---- the page ---------------------------------------------------------------

def row_of(files: Files, **wanted) -> dict | None:
    """The cell with these properties, if it counts."""
    for row in files["bench"]["rows"]:
        if all(row[key] == value for key, value in wanted.items()):
            return None if row["fault"] else row
    return None


def number(value: float) -> str:
    """Three digits, more before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cell_text(row: dict | None, ratio: str) -> str:
    """Nanoseconds, and the ratio."""
    if row is None:
        return "not run"
    text = number(row["ns"]["median"])
    return f"{text} ({row[ratio]['median']:.2f})" if row.get(ratio) else text


def grid(files: Files, mode: str, ring: str, ratio: str, **more) -> list[str]:
    """One table: domains by sizes."""
    lines = ["| | " + " | ".join(f"{size} B" for size in SIZES) + " |", "|---|" + "---|" * len(SIZES)]
    for domain, _ in DOMAINS:
        rows = [row_of(files, mode=mode, ring=ring, domain=domain, bytes=size, **more) for size in SIZES]
        if any(rows):
            lines.append(f"| {domain} | " + " | ".join(cell_text(row, ratio) for row in rows) + " |")
    return lines


def goal_rows(files: Files) -> list[str]:
    """The table of goals; profiles of what was missed under it."""
    lines = ["| what | goal | measured | |", "|---|---|---|---|"]
    profiles = []
    for goal in GOALS:
        for name, bound, function, profile in goal.rows:
            sign = "≤" if goal.at_most else "≥"
            try:
                value, text = function(files)
                met = value <= bound if goal.at_most else value >= bound
                lines.append(f"| {name} | {sign} {bound:g} | {text} | {'met' if met else 'missed'} |")
                if not met:
                    profiles += [f"**{name}**: {value:.3g} where {bound:g} was the goal. " + profile(files), ""]
            except Missing as reason:
                lines.append(f"| {name} | {sign} {bound:g} | not run: {reason} | not run |")
    if profiles:
        lines += ["", "### What was missed, and where it goes", "",
                  "Instructions of a request by function, from callgrind: 64 bytes, 32 at once, payload not touched.", "",
                  *profiles]
    return lines


def instruction_table(files: Files) -> list[str]:
    """Exact counts."""
    rows = files["instructions"]["rows"]
    lines = ["| ring | request | domain | driver half | device half | both | beyond raw, per segment |",
             "|---|---|---|---|---|---|---|"]
    for row in rows:
        extra = row["both_extra_per_segment"]
        lines.append(f"| {row['ring']} | {row['descriptors']} | {row['domain']} | {row['driver']:.1f} | {row['device']:.1f} | "
                     f"{row['both']:.1f} | {'' if extra is None else f'{extra:+.1f}'} |")
    return lines


def size_tables(files: Files) -> list[str]:
    """Code by room; memory."""
    targets = files["size"]["targets"]
    measured = {name: target for name, target in targets.items() if "not_run" not in target}
    rooms = sorted({room for target in measured.values() for room in target["code"]["-Os"]})
    lines = ["| architecture | | " + " | ".join(rooms) + " | all |", "|---|---|" + "---|" * (len(rooms) + 1)]
    for name, target in targets.items():
        if "not_run" in target:
            lines.append(f"| {name} | | not run: {target['not_run']} |" + " |" * len(rooms))
            continue
        for level, code in target["code"].items():
            lines.append(f"| {name} | {level} | " + " | ".join(str(code[room]) for room in rooms) +
                         f" | {sum(code.values())} |")
    words = [("driver_queue", "driver half, a queue: its structure"),
             ("driver_storage_256", "... and storage, 256 descriptors"),
             ("device_queue", "device half, a queue: its structure"),
             ("device_memory_256", "... and memory, 256 descriptors, 4 segments and 8 pieces a request"),
             ("device_memory_16", "... the same with 16 descriptors"), ("domain", "a domain"),
             ("mapping", "a mapping"), ("pool", "a pool"), ("pool_1_mib", "... and records of 1 MiB in slots of 2 KiB"),
             ("space", "a space"), ("iotlb_entry", "an entry of the IOTLB")]
    lines += ["", "Bytes of memory, all of it the caller's:", "", "| | " + " | ".join(measured) + " |",
              "|---|" + "---|" * len(measured)]
    for key, text in words:
        lines.append(f"| {text} | " + " | ".join(str(target["memory"].get(key, "")) for target in measured.values()) + " |")
    return lines


def section(files: Files, title: str, text: str, make) -> list[str]:
    """A section that says why, if it has no numbers."""
    try:
        body = make(files)
    except Missing as reason:
        body = [f"Not run: {reason}."]
    return ["", f"## {title}", "", text, "", *body]


def peers_table(files: Files) -> list[str]:
    """What the peers' own numbers are."""
    peers = files["peers"]
    lines = ["| | ours | theirs |", "|---|---|---|"]

    def put(name: str, part: str, make) -> None:
        data = peers.get(part, {"not_run": "not asked for"})
        if "not_run" in data:
            lines.append(f"| {name} | not run: {data['not_run']} | |")
        else:
            ours, theirs = make(data)
            lines.append(f"| {name} | {ours} | {theirs} |")

    def ns(spread: dict) -> str:
        return f"{number(spread['median'])} ns"

    def rate(spread: dict) -> str:
        return f"{spread['median'] / 1000:.0f} k/s"

    for ring in ("split", "packed"):
        put(f"driver half alone, {ring}; Linux 6.1's virtio_ring.c", "driver_half",
            lambda d, r=ring: (ns(d[r]["viodma_ns"]), ns(d[r]["linux_ns"])))
    put("two processors, 256 out, payload not touched; ringtest's ring", "ringtest",
        lambda d: (ns(d["throughput"]["viodma_ns"]), ns(d["throughput"]["ring_ns"])))
    put("two processors, one out, payload not touched; ringtest's ring", "ringtest",
        lambda d: (ns(d["round_trip"]["viodma_ns"]), ns(d["round_trip"]["ring_ns"])))
    for key, name in (("32_in_flight", "null disk, 4 KiB reads, 32 in flight, as each polls by default"),
                      ("32_asleep", "null disk, 32 in flight, asleep"),
                      ("1_in_flight", "null disk, one in flight, as each polls by default"),
                      ("1_asleep", "null disk, one in flight, asleep"),
                      ("1_polling", "null disk, one in flight, front end and ours poll, theirs asleep")):
        put(f"{name}; qemu-storage-daemon", "disk",
            lambda d, k=key: (rate(d[k]["viodma_per_second"]), rate(d[k]["qsd_per_second"])))
    for key, name in (("packed_32_in_flight", "by default"), ("packed_32_asleep", "asleep"), ("packed_32_polling", "polling")):
        put(f"null disk, packed ring, 32 in flight, {name}", "disk",
            lambda d, k=key: (rate(d[k]["viodma_per_second"]), "has no packed ring"))
    for ring in ("split", "packed"):
        put(f"one thread, 64 bytes, {ring}; testpmd, packets in each of two directions", "testpmd",
            lambda d, r=ring: (f"{d[r]['viodma_mrequests']:.1f} M/s", f"2 × {d[r]['testpmd_mpps_per_direction']:.1f} M/s"))
    return lines


def method(files: Files) -> list[str]:
    """How it was measured, and on what."""
    bench, computer = files["bench"], files["machine"]
    return [
        f"Measured on {computer['day']}: {computer['processors']} processors of {computer['processor']} "
        f"(family/model/stepping {computer['family_model_stepping']}, {computer['mhz']} MHz, cache {computer['cache']}"
        f"{', a virtual machine' if computer['virtual'] else ''}), {computer['memory_gib']} GiB, Linux {computer['kernel']}, "
        f"{computer['compiler']}. No huge pages. A cache line to the other processor and back: "
        f"{bench['ping_pong_ns']:.0f} ns. {bench['rounds']} rounds of {bench['round_ns'] / 1e6:g} ms for each of "
        f"{len(bench['rows'])} cells, {bench['faults']} of which failed their checks and have no numbers.",
    ]


def page(files: Files) -> str:
    """All of it."""
    lines = ["<!-- SPDX-License-Identifier: BSD-3-Clause -->", "# Numbers", "",
             "What platform DMA costs. In 2018 the question was left open whether virtio could use the DMA API for every",
             "device without making it slower where there is nothing to translate. This page is one run of `make numbers`.", ""]
    try:
        lines += method(files)
    except Missing as reason:
        lines.append(f"Not run: {reason}.")
    lines += section(files, "Goals", "Ratios are medians of paired rounds, the payload touched on both sides unless it says "
                     "otherwise; a ratio to raw is of the same build.", goal_rows)
    one = {"descriptors": "one", "direction": "to-device", "build": "plain"}
    for ring in ("packed", "split"):
        lines += section(files, f"One thread, {ring} ring", "Nanoseconds of a request, both halves, 32 at once, to the "
                         "device; in parentheses the ratio to raw.",
                         lambda f, r=ring: grid(f, "one-thread", r, "to_raw", batch=32, **one))
    lines += section(files, "One thread, packed ring, indirect branches as retpolines",
                     "As above; raw is built in the same way. That is what the objection of 2018 was about.",
                     lambda f: grid(f, "one-thread", "packed", "to_raw", batch=32, descriptors="one", direction="to-device",
                                    build="retpoline"))
    lines += section(files, "One thread, packed ring, indirect descriptors",
                     "Two buffers, a table: where they adjoin in the pool they are one, and need no table.",
                     lambda f: grid(f, "one-thread", "packed", "to_raw", batch=32, descriptors="indirect",
                                    direction="to-device", build="plain"))
    lines += section(files, "Two processors, packed ring", "A thread for each half, both polling; 32 at a time, up to 256 on "
                     "their way.", lambda f: grid(f, "two-threads", "packed", "to_raw", batch=32, **one))
    lines += section(files, "Two processors, packed ring, one on its way", "The round trip.",
                     lambda f: grid(f, "two-threads", "packed", "to_raw", batch=1, **one))
    lines += section(files, "Two processes over vhost-user, packed ring", "32 at a time, asleep in between; the ratio is to "
                     "direct with bit 33 set. Behind the IOMMU kinds each mapping is a message.",
                     lambda f: grid(f, "two-processes", "packed", "to_direct", batch=32, **one))
    lines += section(files, "Instructions", "Exact, by callgrind: 64 bytes, 32 at once, payload not touched; `chain` is two "
                     "buffers.", instruction_table)
    lines += section(files, "Beside others", "Each pair in one run, by turns. Driver halves: 64 bytes, 32 at once, payload "
                     "not touched, the same stand-in for a device behind both.", peers_table)
    lines += section(files, "Size", "Code of core in bytes, freestanding; all of it, and by room.", size_tables)
    lines += ["", "## What the rows are", "", "| row | is |", "|---|---|", *(f"| {name} | {text} |" for name, text in DOMAINS), "",
              "## Method", "", *METHOD]
    return "\n".join(lines) + "\n"


METHOD = """
- The same binary is twice as fast in one second as in the next, as the host's state changes; ratios of two runs that lie
  milliseconds apart hold. So every cell of a group runs once in each round, beginning with another one each time, and what
  is compared are the ratios, round by round: their median, with quartiles in the JSON.
- `raw` is core/ring and the rig compiled once more with `bench/raw.h` before them, which puts nothing in the place of maps
  and a cast in the place of translations. Everything else is the same source, so that `raw`, too, compares its space's epoch
  at each pop and push, with which a queue asks in one go whether anything about it is out of the ordinary. The retpoline
  builds are core once more, with indirect branches as retpolines; all four builds are in one program and run in the same
  rounds.
- The device half in one and two threads is no disk: it looks at every byte that it may read, or fills every byte that it
  may write, where they lie. The driver half fills and sums likewise.
- Before a cell is measured, each byte of requests is compared with a pattern; bus addresses must differ from physical
  ones, except where a rule has them equal; what bounces must have been copied once; an access that nobody granted must have
  been refused. A cell that fails has no numbers.
- The IOMMU of one and two threads is a table in memory, so that the DMA layer is seen and not some hardware. It maps pages
  of 4096 bytes: what does not fill pages is copied through the pool, so that no neighbour's bytes are granted.
- In one thread every combination is measured; in two threads retpolines for one buffer and 32 at once only, in two
  processes two buffers for 4096 bytes only. So each property of a cell stands beside each other one somewhere. In two
  processes there is no raw, and there are no retpolines: the back end is the library as it is installed.
- In two threads the ring is kept full: a batch is added when as many have come back, while the device half has up to 224
  others. Neither half asks for notifications. A half that finds little looks again only when more may be there, for each look
  takes a line of the ring away from the other half, which is at work on it. Where the two processors are far from each other,
  as the line to and fro says, which can change within a run on a virtual machine, everything here takes two or three times as
  long, ringtest too.
- Instructions are of two runs, with N and 2 N requests: the difference is exact.
- Run it again: `make numbers`. Parts: `viodma bench`, `bench/instructions`, `bench/peers/run`, `bench/size`.
""".strip().splitlines()


def main() -> int:
    """Measure, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "numbers.md")
    parser.add_argument("--quick", action="store_true", help="fewer rounds; not for publication")
    parser.add_argument("--only", action="append", help="measure this part anew, keep the others")
    parser.add_argument("--from-files", action="store_true", help="measure nothing")
    options = parser.parse_args()
    out = options.build.resolve() / "numbers"
    if not options.from_files:
        measure(options.build.resolve(), out, options.quick, options.only)
    options.output.write_text(page(Files(out)))
    print(f"numbers: {options.output.name} is written", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
