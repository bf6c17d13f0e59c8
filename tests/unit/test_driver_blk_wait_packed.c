/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_driver_blk_wait_packed.c - test_driver_blk_wait.c with packed rings.
 */
#define TEST_PACKED 1
#include "test_driver_blk_wait.c"
