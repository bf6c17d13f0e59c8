/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_blk_rig.h - one disk, driven: a device opposite (tests/support/test_device.h), and requests that remember how they
 * ended. The tests of a program share one device, `current`; each begins with a new one.
 */
#ifndef VIODMA_TESTS_DRIVER_BLK_RIG_H
#define VIODMA_TESTS_DRIVER_BLK_RIG_H

#include "tests/support/check.h"
#include "tests/support/test_device.h"

#define MANY 64u

static struct test_device *current;

static inline struct test_device *fresh(const struct test_device_options *options)
{
	test_device_free(current);
	current = test_device_new(options);
	return current;
}

static inline struct test_device *started(const struct test_device_options *options, uint32_t parts, uint32_t segments_max)
{
	struct test_device *device = fresh(options);

	if (test_device_start(device, parts, segments_max) != VIODMA_OK)
		abort();
	return device;
}

/* ---- requests that remember how they ended ---- */

struct asked {
	struct viodma_driver_blk_request request;
	struct viodma_buffer buffers[MANY];
	unsigned ended, order;
	enum viodma_result result;
};

static struct asked asked[MANY];
static unsigned endings;

static inline void on_done(void *context, struct viodma_driver_blk_request *request, enum viodma_result result)
{
	struct asked *one = context;

	if (request != &one->request)
		abort();
	one->ended++;
	one->order = endings++;
	one->result = result;
}

static inline void forget(void)
{
	memset(asked, 0xee, sizeof(asked)); /* below the line nothing has to be set */
	endings = 0;
}

static inline struct asked *ask(unsigned i, enum viodma_driver_blk_operation operation, uint64_t sector, size_t at,
			 uint32_t len)
{
	struct asked *one = &asked[i];

	one->request.operation = operation;
	one->request.sector = sector;
	one->request.buffers = one->buffers;
	one->request.buffer_count = len ? 1 : 0;
	one->request.deadline_ns = UINT64_MAX;
	one->request.done = on_done;
	one->request.context = one;
	one->buffers[0] = test_buffer(at, len ? len : 1);
	one->ended = 0;
	return one;
}

static inline enum viodma_result submit(struct asked *one)
{
	return viodma_driver_blk_submit(&current->blk, &one->request);
}

/* Poll and serve until nothing happens any more. */
static inline enum viodma_result settle(void)
{
	enum viodma_result result;
	unsigned turns = 0;

	for (;;) {
		do {
			result = viodma_driver_blk_poll(&current->blk, current->now_ns);
			if (++turns > 20000)
				return VIODMA_E_TIMEOUT;
		} while (result == VIODMA_OK);
		if (result != VIODMA_EMPTY)
			return result;
		if (!test_device_serve(current) && !current->pending_count)
			break;
		test_device_finish(current);
	}
	return result;
}

static inline bool ended(const struct asked *one, enum viodma_result result)
{
	CHECK_EQUAL(one->ended, 1);
	CHECK_RESULT(one->result, result);
	return true;
}

static inline bool gone(void)
{
	CHECK_RESULT(test_device_end(current), VIODMA_OK);
	CHECK(test_device_idle(current));
	CHECK_EQUAL(current->faults, 0);
	return true;
}

static inline bool as_on_disk(size_t at, uint64_t offset, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		CHECK_EQUAL(current->private_memory[at + i], current->disk[offset + i]);
	return true;
}

#endif
