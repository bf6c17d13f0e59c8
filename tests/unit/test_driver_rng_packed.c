/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_driver_rng_packed.c - test_driver_rng.c with packed rings.
 */
#define TEST_PACKED 1
#include "test_driver_rng.c"
