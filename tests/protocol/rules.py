# SPDX-License-Identifier: BSD-3-Clause
"""Tests of rules, and their twins that fail where the rule is removed.

How it works
  @forbidden("DEV-9") turns a check into two tests. One runs it on the program;
  the other runs the very same check on the test build with VIODMA_MUTANT=DEV-9
  and demands a Violation: a check that passes there proves nothing. The check
  gets a Lab, states what must hold with must(), and never sees which of the
  two it is in.
"""
import pytest

import blk as b
from vhost_user import Violation


class Lab:
    """What a check needs: programs (with the rule in force or removed), drivers, an image."""

    def __init__(self, start, tmp, image, mutant):
        self._start, self.tmp, self.image, self.mutant = start, tmp, image, mutant
        self.programs = []

    def serve(self, *options, images=None, **how):
        program = self._start(images or self.image, *options, mutant=self.mutant, **how)
        program.finished = self.mutant is not None      # a mutant is not asked to end well
        self.programs.append(program)
        return program

    def drive(self, program=None, device=0, **how):
        """A started driver on a device of a (new) program."""
        program = program or (self.programs[-1] if self.programs else self.serve())
        return b.driving(program.sockets[device], **how)


def forbidden(*ids, also=(None,)):
    """`also`: values for the check's second argument, where it takes one."""
    cases = [(None, more) for more in also] + [(i, more) for i in ids for more in also]

    def name(case):
        return "-".join(filter(None, ["holds" if case[0] is None else f"not-without-{case[0]}",
                                      str(case[1]) if case[1] is not None else ""]))

    def decorate(check):
        @pytest.mark.parametrize("case", cases, ids=name)
        def test(start, tmp, image, case):
            removed, more = case
            lab = Lab(start, tmp, image, removed)
            arguments = (lab,) if also == (None,) else (lab, more)
            if removed is None:
                check(*arguments)
                return
            try:
                check(*arguments)
            except Violation:
                return
            finally:
                for program in lab.programs:
                    program.kill()
            pytest.fail(f"{check.__name__} passes although {removed} is removed: it does not test that rule")
        test.__name__ = test.__qualname__ = check.__name__
        test.__doc__ = check.__doc__
        return test
    return decorate
