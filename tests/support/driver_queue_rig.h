/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_queue_rig.h - one virtqueue, driver half, in a device opposite (tests/support/test_device.h), with segments and
 * tokens to put into it. The tests of a program share one device, `current`; each begins with a new one.
 */
#ifndef VIODMA_TESTS_DRIVER_QUEUE_RIG_H
#define VIODMA_TESTS_DRIVER_QUEUE_RIG_H

#include "tests/support/check.h"
#include "tests/support/test_device.h"

static struct test_device *current;

static inline struct test_device *fresh(const struct test_device_options *options)
{
	test_device_free(current);
	current = test_device_new(options);
	return current;
}

/* A device with one queue, enabled. */
static inline struct test_device *with_queue(const struct test_device_options *options)
{
	struct test_device *device = fresh(options);

	if (test_device_negotiate(device, viodma_driver_blk_wanted()) != VIODMA_OK ||
	    test_device_make_domain(device) != VIODMA_OK || test_device_make_queue(device, 0) != VIODMA_OK)
		abort();
	return device;
}

static inline struct test_device *of_kind(enum test_kind kind)
{
	const struct test_device_options options = {.kind = kind};

	return with_queue(&options);
}

/* Segments that need no mapping: of the pool's, by number. Nobody looks at the bytes. */
static inline struct viodma_segment segment(unsigned number, uint32_t len_bytes, enum viodma_permission permission)
{
	return (struct viodma_segment){
		.bus = {TEST_PRIVATE_PHYS + number * 4096}, .len_bytes = len_bytes, .permission = permission};
}

static int tokens[4096];

static inline bool add_one(struct viodma_driver_queue *queue, void *token)
{
	const struct viodma_segment segments[2] = {segment(0, 16, VIODMA_READ), segment(1, 32, VIODMA_WRITE)};

	CHECK_RESULT(viodma_driver_queue_add(queue, segments, 2, token), VIODMA_OK);
	return true;
}

#endif
