# SPDX-License-Identifier: BSD-3-Clause
"""Real guests for viodma: Debian kernels in QEMU, disks, and the demo. README.md says how a guest is made."""
