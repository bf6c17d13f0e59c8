# SPDX-License-Identifier: BSD-3-Clause
"""Tests of rules, and their twins that fail where the rule is removed.

How it works
  @forbidden("DEV-9") turns a check into two tests. One runs it on the program;
  the other runs the very same check on the test build with VIODMA_MUTANT=DEV-9
  and demands a Violation: a check that passes there proves nothing. The check
  gets a Lab, states what must hold with must(), and never sees which of the
  two it is in.
"""
import os

import pytest

import blk as b
import slow_disk
from vhost_user import Violation


split_only = pytest.mark.parametrize("layout", ["split"], indirect=True)


class Lab:
    """What a check needs: programs (with the rule in force or removed), drivers, an image."""

    def __init__(self, start, tmp, image, mutant):
        self._start, self.tmp, self.image, self.mutant = start, tmp, image, mutant
        self.programs, self.disks = [], []

    def serve(self, *options, images=None, **how):
        program = self._start(images or self.image, *options, mutant=self.mutant, **how)
        program.finished = self.mutant is not None      # a mutant is not asked to end well
        self.programs.append(program)
        return program

    def slow_disk(self):
        """A disk that holds its I/O; skips the test where the machine has none."""
        reason = slow_disk.available(os.path.join(self.tmp, "probe"))
        if reason:
            pytest.skip(f"not run: no disk that can be held: {reason}")
        self.disks.append(slow_disk.SlowDisk(os.path.join(self.tmp, f"slow{len(self.disks)}"), self.image.bytes))
        return self.disks[-1]

    def end(self):
        """Ends mutants, which are not asked to end well, and the disks."""
        for disk in self.disks:
            disk.release()
        for program in self.programs:
            if program.finished:
                program.kill()
            else:
                program.finish()
                program.finished = True
        for disk in self.disks:
            disk.close()

    def drive(self, program=None, device=0, **how):
        """A started driver on a device of a (new) program."""
        program = program or (self.programs[-1] if self.programs else self.serve())
        return b.driving(program.sockets[device], patience=program.patience, **how)


def forbidden(*ids, also=(None,)):
    """`also`: values for the check's second argument, where it takes one."""
    cases = [(None, more) for more in also]
    cases += [pytest.param((i, more), marks=pytest.mark.mutant) for i in ids for more in also]

    def name(case):
        return "-".join(filter(None, ["holds" if case[0] is None else f"not-without-{case[0]}",
                                      str(case[1]) if case[1] is not None else ""]))

    def decorate(check):
        @pytest.mark.parametrize("case", cases, ids=name)
        def test(start, tmp, image, case):
            removed, more = case
            lab = Lab(start, tmp, image, removed)
            arguments = (lab,) if also == (None,) else (lab, more)
            try:
                check(*arguments)
            except Violation:
                if removed is None:
                    raise
                return
            finally:
                lab.end()
            if removed is None:
                return
            pytest.fail(f"{check.__name__} passes although {removed} is removed: it does not test that rule")
        test.__name__ = test.__qualname__ = check.__name__
        test.__doc__ = check.__doc__
        return test
    return decorate
