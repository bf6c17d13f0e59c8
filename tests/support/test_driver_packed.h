/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_driver_packed.h - what test_driver.c needs of test_driver_packed.c.
 */
#ifndef VIODMA_TESTS_TEST_DRIVER_PACKED_H
#define VIODMA_TESTS_TEST_DRIVER_PACKED_H

#include "tests/support/test_driver.h"

void test_packed_make_available(struct test_driver *driver, uint16_t head);
uint16_t test_packed_used_count(struct test_driver *driver);

#endif
