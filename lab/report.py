# SPDX-License-Identifier: BSD-3-Clause
"""What the demo says: the contrast table, report.json, and report.html.

How it works
    Columns are the runs clear, set and secure; a run that did not take place says "not run" everywhere. Every cell of
    the table comes from statistics of `viodma serve`, from the guest, or from the host's check of the image; nothing is
    assumed. What is said about addresses and reach is about the kernel's session (firmware has its own).

    report.json holds, per run, exactly these names: driver_bit33, iotlb_active, verified, reachable_bytes_peak,
    refused [{id, address, length}], iotlb {hits, misses, updates, invalidations}, faults, requests, bytes, seconds.
"""
from __future__ import annotations

import dataclasses
import html
import json
import pathlib

from . import cells, serve, strip
from .cells import Cell, Observation
from .serve import Json
from .strip import size

TITLES = {
    "clear": "(a) bit 33 clear", "set": "(b) bit 33 set", "secure": "(c) secure VM",
}
NOT_RUN = "not run"


@dataclasses.dataclass
class Outcome:
    """One finished run: what it was, what was seen, what is wrong with it."""

    cell: Cell
    seen: Observation
    wrong: list[str]

    @property
    def session(self) -> Json:
        """The kernel's session at the end of the run, or as it was when the secret was planted."""
        found = serve.sessions(self.seen.final)
        return found[-1] if found else self.seen.session


def _queues(outcome: Outcome) -> list[Json]:
    """The kernel's sessions, one for each queue that was used."""
    found = serve.sessions(outcome.seen.live)[-outcome.cell.machine.queues:]
    return [session for session in found if session.get("requests")]


def _addresses(outcome: Outcome) -> str:
    """Which kind of address the ring holds, and an example."""
    session, machine = outcome.session, outcome.cell.machine
    ring = str(session.get("desc", "?"))
    if machine.platform == "secure":
        return f"bus = pool ({ring})"
    return f"{'bus' if outcome.cell.translated else 'physical'} ({ring})"


def _enforcer(outcome: Outcome) -> str:
    """Who keeps the device out of the rest of memory."""
    if outcome.cell.machine.platform == "secure":
        return "never handed over"
    return "viodma's checks" if outcome.cell.translated else "nobody"


def _speed(outcome: Outcome, way: str) -> str:
    """O_DIRECT throughput as the guest measured it."""
    values = outcome.seen.guest.values
    try:
        hundredths = max(int(values[f"speed_{way}_cs"]), 1)
        return f"{int(values['speed_bytes']) / hundredths / 10_000:.0f} MB/s"
    except (KeyError, ValueError):
        return "not measured"


def _verified(outcome: Outcome) -> str:
    """Whether all checksums agree."""
    return "yes" if outcome.seen.verified else "NO"


def _stray(outcome: Outcome) -> str:
    """What became of the attempt on the secret."""
    stray = outcome.seen.on_secret
    if stray is None:
        return "not attempted"
    if stray.outcome == "read":
        came = outcome.seen.secret.encode() in stray.data
        return f"read ({'the secret came back' if came else 'other bytes came back'})"
    return str(stray)


def rows(outcome: Outcome) -> list[tuple[str, str]]:
    """One column of the contrast table."""
    seen, session, machine = outcome.seen, outcome.session, outcome.cell.machine
    final, iotlb = seen.final, seen.final.get("iotlb", {})
    peak = int(session.get("reachable_bytes_peak", 0))
    low, high = machine.shared_range
    moved = final.get("bytes", {})
    yes = {True: "yes", False: "no"}
    return [
        ("33 accepted by the driver", yes[seen.guest.bit(33)]),
        ("rings", f"{'packed' if seen.guest.bit(34) else 'split'}, {len(_queues(outcome))} of them"),
        ("IOTLB active in the device", yes[bool(session.get("iotlb_active"))]),
        ("addresses in the ring", _addresses(outcome)),
        ("VM memory handed over", f"{size(high - low)} of {size(machine.ram_bytes)}"),
        ("device can reach, at the peak", f"{size(peak)} = {100 * peak / machine.ram_bytes:.3g} %"),
        ("stray read of the secret", _stray(outcome)),
        ("stray read outside memory", str(seen.outside) if seen.outside else "not attempted"),
        ("who enforces it", _enforcer(outcome)),
        ("data verified: guest, e2fsck, host", _verified(outcome)),
        ("requests", f"{final.get('requests', {}).get('total', 0):,}"),
        ("bytes read / written", f"{size(moved.get('in', 0))} / {size(moved.get('out', 0))}"),
        ("IOTLB hits / misses", f"{iotlb.get('hits', 0):,} / {iotlb.get('misses', 0):,}"),
        ("IOTLB updates / invalidations", f"{iotlb.get('updates', 0):,} / {iotlb.get('invalidations', 0):,}"),
        ("faults (refusals included)", f"{final.get('faults', {}).get('total', 0)}"),
        ("throughput read / write", f"{_speed(outcome, 'read')} / {_speed(outcome, 'write')}"),
        ("seconds, boot to power-off", f"{seen.guest.seconds:.1f}"),
    ]


def _all_rows(outcomes: dict[str, Outcome]) -> list[tuple[str, list[str]]]:
    """Label and one value per column of TITLES."""
    columns = {name: dict(rows(outcome)) for name, outcome in outcomes.items()}
    labels: list[str] = list(next(iter(columns.values()), {}))
    return [(label, [columns.get(name, {}).get(label, NOT_RUN) for name in TITLES]) for label in labels]


def table(outcomes: dict[str, Outcome]) -> str:
    """The contrast table for a terminal."""
    body = _all_rows(outcomes)
    head = ("", [title + (f", {outcomes[name].cell.machine.platform}" if name in outcomes and name != "secure" else "")
                 for name, title in TITLES.items()])
    lines = [head, *body]
    widths = [max(len(label) for label, _ in lines)]
    widths += [max(len(values[at]) for _, values in lines) for at in range(len(TITLES))]
    form = "  ".join(f"{{:<{width}}}" for width in widths)
    text = [form.format(label, *values).rstrip() for label, values in lines]
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(text)


def refused(outcome: Outcome) -> list[Json]:
    """The test requests that were turned down."""
    return [{"id": stray.requirement, "address": f"{stray.address:#x}", "length": stray.length}
            for stray in (outcome.seen.on_secret, outcome.seen.outside) if stray is not None and stray.refused]


def as_json(outcomes: dict[str, Outcome]) -> Json:
    """report.json."""
    report: Json = {}
    for name, outcome in outcomes.items():
        final, iotlb = outcome.seen.final, outcome.seen.final.get("iotlb", {})
        report[name] = {
            "driver_bit33": outcome.seen.guest.bit(33),
            "iotlb_active": bool(outcome.session.get("iotlb_active")),
            "verified": outcome.seen.verified,
            "reachable_bytes_peak": int(outcome.session.get("reachable_bytes_peak", 0)),
            "refused": refused(outcome),
            "iotlb": {key: iotlb.get(key, 0) for key in ("hits", "misses", "updates", "invalidations")},
            "faults": final.get("faults", {}).get("total", 0),
            "requests": final.get("requests", {}).get("total", 0),
            "bytes": sum(final.get("bytes", {}).get(way, 0) for way in ("in", "out")),
            "seconds": round(outcome.seen.guest.seconds, 2),
        }
    return report


def _picture(name: str, outcome: Outcome) -> strip.Run:
    """What the strip needs of a run."""
    seen, machine = outcome.seen, outcome.cell.machine
    words = {"clear": "the same IOMMU stands there, and means nothing", "set": "every access through the platform's translation",
             "secure": "private memory is never handed over; the guest bounces through a pool"}[name]
    return strip.Run(title=f"{TITLES[name]}: {words}", events=serve.trace_events(seen.trace), ram_base=machine.ram_base,
                     ram_bytes=machine.ram_bytes, handed=machine.shared_range, translated=outcome.cell.translated,
                     secret=seen.secret_address, secret_outcome=str(seen.on_secret or ""), milestones=seen.milestones)


PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark"><title>viodma: what a device can reach</title><style>%(colours)s
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1040px;margin:0 auto;padding:32px 20px 60px}
h1{font-size:26px;line-height:1.25;margin:0 0 8px}h2{font-size:18px;margin:36px 0 10px}p{max-width:46em}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%%;font-size:14px}
th,td{text-align:left;vertical-align:top;padding:6px 12px 6px 0;border-bottom:1px solid var(--line)}
thead th{border-bottom:2px solid var(--line)}tbody th{font-weight:400;color:var(--dim);white-space:nowrap}
td{font-variant-numeric:tabular-nums}.bad{color:var(--bad);font-weight:600}.leak{color:var(--leak);font-weight:600}
svg{width:100%%;height:auto;min-width:760px;display:block}.dimmed{color:var(--dim);font-weight:400}
pre{overflow-x:auto;background:var(--none);padding:10px;font-size:12px;white-space:pre-wrap;word-break:break-all}
</style></head><body class="viodma"><main>
<h1>%(title)s</h1>
<p>%(lead)s</p>
<h2>The contrast</h2><div class="scroll">%(table)s</div>%(wrong)s
<h2>The VM's memory, over time</h2>
<p class="dimmed">Each strip is all of the VM's memory, low addresses at the bottom; time runs to the right. A point is coloured
if any byte of it was granted, or touched, at any moment of its time, so that a strip shows more than was granted and never
less; the numbers are exact. Below each strip: the bytes the device can reach.</p>
<div class="scroll">%(picture)s</div>
<h2>How to read it</h2>
<p><b>The stray read</b> is a request of the device half's own, made by the test build of <code>viodma serve</code>, for the page
in which the guest keeps a secret. It goes through the same code as every request of the driver. <b>Who enforces</b> matters:
in (b) viodma has all of the VM's memory mapped and keeps itself honest; in (c) the private memory was never handed over, so
no error of viodma's can reach it. The same runs with the rule taken out are part of <code>make check</code>, and must fail.</p>
<h2>What ran</h2>%(details)s
</main></body></html>
"""


def _html_table(outcomes: dict[str, Outcome]) -> str:
    """The contrast table for the page."""
    parts = ["<table><thead><tr><th></th>"]
    for name, title in TITLES.items():
        below = outcomes[name].cell.name if name in outcomes else NOT_RUN
        parts.append(f"<th>{html.escape(title)}<br><span class='dimmed'>{html.escape(below)}</span></th>")
    parts.append("</tr></thead><tbody>")
    for label, values in _all_rows(outcomes):
        parts.append(f"<tr><th>{html.escape(label)}</th>")
        for value in values:
            css = ""
            if value.startswith("refused") or value == "NO":
                css = ' class="bad"'
            elif value.startswith("read (") or value == "nobody":
                css = ' class="leak"'
            parts.append(f"<td{css}>{html.escape(value)}</td>")
        parts.append("</tr>")
    parts.append("</tbody></table>")
    return "".join(parts)


def _details(outcomes: dict[str, Outcome], facts: dict[str, str]) -> str:
    """Versions and command lines."""
    parts = ["<table><tbody>"]
    parts += [f"<tr><th>{html.escape(key)}</th><td>{html.escape(value)}</td></tr>" for key, value in facts.items()]
    parts.append("</tbody></table>")
    for name, outcome in outcomes.items():
        directory = outcome.seen.guest.log.parent
        commands = [path.read_text() for path in (directory / "serve.command", directory / "command") if path.exists()]
        parts.append(f"<details><summary>{html.escape(TITLES[name])}: command lines</summary>"
                     f"<pre>{html.escape(chr(10).join(commands))}</pre></details>")
    return "".join(parts)


def write(outcomes: dict[str, Outcome], directory: pathlib.Path, facts: dict[str, str]) -> None:
    """Write report.json, report.html and report.svg."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "report.json").write_text(json.dumps(as_json(outcomes), indent=2) + "\n")
    pictures = [_picture(name, outcome) for name, outcome in outcomes.items()]
    (directory / "report.svg").write_text(strip.svg(pictures, standalone=True))
    wrong = "".join(f"<p class='bad'>{html.escape(TITLES[name])}: {html.escape(text)}</p>"
                    for name, outcome in outcomes.items() for text in outcome.wrong)
    kernel = next((outcome.seen.guest.values.get("kernel", "") for outcome in outcomes.values()), "")
    page = PAGE % {
        "colours": strip.COLOURS, "title": "What a virtio device can reach, and who keeps it there",
        "lead": html.escape(f"A stock Debian guest (Linux {kernel}) reads and writes a disk served by viodma serve blk; only "
                            "feature bit 33 and the platform differ. Everything below was measured in these runs."),
        "table": _html_table(outcomes), "wrong": wrong, "picture": strip.svg(pictures), "details": _details(outcomes, facts),
    }
    (directory / "report.html").write_text(page)


def judge(cell: Cell, seen: Observation) -> Outcome:
    """Put a run and its judgement together."""
    return Outcome(cell, seen, cells.failures(cell, seen))
