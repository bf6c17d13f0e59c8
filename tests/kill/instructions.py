# SPDX-License-Identifier: BSD-3-Clause
"""A back end killed at an instruction: which instructions its program has, and the stepper that goes through them.

How it works
  The program's symbol table says which function an address is in, static ones too, and of which file: those of the rings
  and of the record are the ones that matter. stepper.c, built here, holds the process with ptrace, lets it come back
  from epoll_wait a number of times, perhaps come to a function, goes on one instruction at a time, and kills it at
  the Nth; all instructions count, or those of the functions asked for.
"""
import bisect
import os
import platform
import re
import subprocess
import time

import pytest

EPOLL_WAITS = {"232", "281"} if platform.machine() == "x86_64" else {"22"}    # epoll_wait, epoll_pwait
HERE = os.path.dirname(os.path.abspath(__file__))
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra"]
FILES = {"packed.c", "queue.c", "queue_life.c", "record.c", "request.c", "split.c", "walk.c", "words.c",
         "inflight.c", "inflight_packed.c", "inflight_split.c"}
NAMES = re.compile(r"viodma_(queue|request|packed|split|ring|record|inflight|walk)_")
# From "it is about to be in the used ring" to "the record knows that it is".
RETURNING = re.compile(r"finish|return(ing|ed)|viodma_(packed|split)_put_used|put_(heads|places)")
RESUMING = re.compile(r"resume|settle|walk_free|list|begin|take_chain|find_marked|viodma_record_|viodma_queue_peek")


class Cannot(Exception):
    """The test could not be made: ptrace is forbidden, or the process went away by itself."""


def build(directory):
    """The stepper, as a program in that directory."""
    program = os.path.join(directory, "stepper")
    made = subprocess.run(["cc", *FLAGS, "-o", program, os.path.join(HERE, "stepper.c")], capture_output=True, text=True)
    if made.returncode:
        pytest.fail(f"the stepper cannot be built (a C compiler for Linux is needed): {made.stderr[-1500:]}")
    return program


class Program:
    """The functions of a program: by address, as it lies in its file."""

    def __init__(self, path):
        self.path = os.path.realpath(path)
        text = subprocess.run(["readelf", "-sW", self.path], capture_output=True, text=True, check=True).stdout
        functions, file = {}, ""
        for line in text.splitlines():
            words = line.split()
            if len(words) < 8 or not words[0].endswith(":"):
                continue
            _, value, size, kind, binding, _, _, name = words[:8]
            if kind == "FILE":
                file = name
            elif kind == "FUNC" and int(size, 0):
                functions[int(value, 16)] = (int(size, 0), name, file if binding == "LOCAL" else "")
        self.starts = sorted(functions)
        self.functions = functions

    @staticmethod
    def matters(name, file):
        return file in FILES or bool(NAMES.match(name))

    def ranges(self, wanted=None):
        """(begin, end) of the functions of rings and record, or of those of them whose name the pattern finds."""
        return [(at, at + size) for at, (size, name, file) in sorted(self.functions.items())
                if self.matters(name, file) and (wanted is None or wanted.search(name))]

    def function(self, wanted):
        """Where the function of that name begins; static ones are copies, which `viodma bench` has of its own."""
        return next(at for at, (_, name, file) in self.functions.items() if name == wanted and not file)

    def name_of(self, offset):
        """Function and whether it belongs to the rings or the record; None: not of this program."""
        i = bisect.bisect_right(self.starts, offset) - 1
        if i < 0:
            return None
        size, name, file = self.functions[self.starts[i]]
        if offset >= self.starts[i] + size:
            return None
        name = re.sub(r"\.(part|cold|isra|constprop).*", "", name)
        return f"{file}:{name}" if file else name, self.matters(name, file)


class Fall:
    """Where a kill fell."""

    def __init__(self, where, matters, steps, counted):
        self.where, self.matters, self.steps, self.counted = where, matters, steps, counted


class Stepper:
    """Holds a process from now on, until it dies of it."""

    def __init__(self, helper, program, pid, returns, count, ranges, begin=None):
        self.program = program
        self.maps = self._maps(pid)
        base = min((start for start, _, _, path in self.maps if path == program.path), default=None)
        if base is None:
            raise Cannot(f"{program.path} is not what process {pid} runs")
        self.base = base
        self.process = subprocess.Popen([helper, str(pid), self._worker(pid), str(returns),
                                         f"{base + begin if begin else 0:x}", str(count)],
                                        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.process.stdin.write("".join(f"{base + begin:x} {base + end:x}\n" for begin, end in ranges))
        self.process.stdin.close()
        said = self.process.stdout.readline().strip()
        if said != "ready":
            self.end()
            raise Cannot(f"a process cannot be traced here ({said}): the container or the kernel's settings forbid "
                         f"ptrace; this test needs it (CAP_SYS_PTRACE, and kernel.yama.ptrace_scope below 3)")

    @staticmethod
    def _worker(pid):
        """The thread that serves the device: that of the process's own threads which waits for events, or will."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            for thread in os.listdir(f"/proc/{pid}/task"):
                try:
                    with open(f"/proc/{pid}/task/{thread}/syscall") as file:
                        number = file.read().split()[0]
                except OSError:
                    continue
                if thread != str(pid) and number in EPOLL_WAITS:
                    return thread
            time.sleep(0.0005)
        raise Cannot("no thread of the back end waits for events")

    @staticmethod
    def _maps(pid):
        with open(f"/proc/{pid}/maps") as lines:
            rows = [line.split(maxsplit=5) for line in lines]
        return [(*(int(word, 16) for word in row[0].split("-")), int(row[2], 16), row[5].strip() if len(row) > 5 else "")
                for row in rows]

    def fell(self):
        """After the process has died."""
        said = self.process.stdout.readline().split()
        self.end()
        if len(said) != 3:
            raise Cannot(f"the stepper: {' '.join(said) or 'said nothing'}")
        at = int(said[0], 16)
        known = self.program.name_of(at - self.base)
        if known is None:
            path = next((os.path.basename(row[3]) for row in self.maps if row[0] <= at < row[1]), "memory")
            known = f"({path.split('.so')[0] or 'memory'})", False
        return Fall(*known, int(said[1]), int(said[2]))

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
