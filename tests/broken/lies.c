/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lies.c - what becomes of a device that does not look at what its driver says: it is gone, or hangs, or is of no use any
 * more, or has written where it has no business. Ours notices; where it does, the mutant of that lie comes to harm.
 */
#include "hosted/vhost_user/backend.h"

#include "tests/broken/broken.h"

#include <unistd.h>

static bool of_no_use;

static void write_elsewhere(const struct viodma_vhost_user *backend)
{
	const struct viodma_region *region = &backend->space.regions[backend->space.region_count - 1];
	unsigned char *byte = (unsigned char *)region->memory + (region->len_bytes - 1);

	*byte = (unsigned char)~*byte;
}

static void come_to_harm(struct viodma_vhost_user *backend)
{
	if (BROKEN(lie_next) || BROKEN(lie_table_empty) || BROKEN(lie_table_next_beyond) || BROKEN(lie_length_zero))
		_exit(70);
	while (BROKEN(lie_loop) || BROKEN(lie_table_next))
		pause();
	if (BROKEN(lie_order) || BROKEN(lie_address_wraps) || BROKEN(lie_bytes) || BROKEN(lie_table_half))
		write_elsewhere(backend);
	of_no_use |= BROKEN(lie_index) || BROKEN(lie_head_twice);
}

BETWEEN(void, viodma_vring_error, struct viodma_vring *ring)
{
	come_to_harm(ring->backend);
	__real_viodma_vring_error(ring);
}

BETWEEN(enum viodma_result, viodma_vring_try_start, struct viodma_vring *ring, const char **why)
{
	if (of_no_use)
		return VIODMA_OK;
	return __real_viodma_vring_try_start(ring, why);
}
