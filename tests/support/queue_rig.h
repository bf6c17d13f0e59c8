/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * queue_rig.h - the device half of one queue, and a driver made by hand before it (tests/support/test_driver.h). The tests
 * of a program share one driver, `current`; each begins with a new one, and the group ends with no_driver.
 */
#ifndef VIODMA_TESTS_QUEUE_RIG_H
#define VIODMA_TESTS_QUEUE_RIG_H

#include "tests/support/check.h"
#include "tests/support/hooks.h"
#include "tests/support/test_driver.h"

static struct test_driver *current;

static inline struct test_driver *fresh(const struct test_options *options)
{
	test_driver_free(current);
	current = test_driver_new(options);
	return current;
}

/* The rings are granted already, where addresses are the platform's. */
static inline struct test_driver *fresh_with_rings(const struct test_options *options)
{
	fresh(options);
	test_grant_rings(current);
	return current;
}

/* What a start answers, of a queue that was stopped, with a ring of this size at these places. */
static inline enum viodma_result start_with(const struct test_options *options, uint32_t size, uint64_t desc,
					    uint64_t avail, uint64_t used)
{
	struct test_driver *d = fresh(options);
	struct viodma_queue_setup setup = d->setup;
	uint32_t base;

	if (viodma_queue_stop(&d->queue, &base) != VIODMA_OK)
		return VIODMA_E_BUSY;
	setup.size = size;
	setup.desc.v = desc;
	setup.avail.v = avail;
	setup.used.v = used;
	return viodma_queue_start(&d->queue, &setup, NULL);
}

static inline int no_driver(void **state)
{
	(void)state;
	viodma_shared_read_hook_fn = NULL;
	test_driver_free(current);
	current = NULL;
	return 0;
}

#endif
