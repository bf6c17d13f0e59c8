/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * porting_board.c - a board for the code of docs/porting.md, which is put before it as shown.c. How it works: the
 * program is linked to lie at 0x40000000, where that board has its memory, so that pointers are physical addresses.
 * The disk is a page of code behind the transport, in the same thread: it works while the driver rests, and at no
 * other time. It answers reads with the sector's number in each byte. On the swapped bus it takes bus addresses for
 * what they are there; one taken for a physical one would be elsewhere. A disk that is stuck comes out of no reset;
 * one that is silent answers nothing, but for a reset; one that is dead is silent and stuck from then on.
 */
#include "shown.c"

#include <stdio.h>
#include <string.h>

#include <viodma/wire/blk.h>
#include <viodma/wire/ring.h>

#define READABLE_HALF (128ull << 20)

static struct viodma_transport_queue where;
static uint8_t status_register;
static uint64_t accepted_register;
static uint16_t taken;
static unsigned resting; /* until a reset is done */
static bool swapped, stuck, silent, dead;

static void *at(uint64_t bus)
{
	if (swapped)
		bus = 0x40000000ull + (bus < READABLE_HALF ? bus + READABLE_HALF : bus - READABLE_HALF);
	return (void *)(uintptr_t)bus;
}

static enum viodma_result get_features(void *context, uint64_t *offered)
{
	(void)context;
	*offered = VIODMA_FEATURE(VIRTIO_F_VERSION_1_BIT) | VIODMA_FEATURE(VIRTIO_F_ACCESS_PLATFORM_BIT) |
		   VIODMA_FEATURE(VIRTIO_F_EVENT_IDX_BIT) | VIODMA_FEATURE(VIRTIO_F_INDIRECT_DESC_BIT) |
		   VIODMA_FEATURE(VIRTIO_BLK_F_SEG_MAX_BIT);
	return VIODMA_OK;
}

static enum viodma_result set_features(void *context, uint64_t accepted)
{
	(void)context;
	accepted_register = accepted;
	return VIODMA_OK;
}

static enum viodma_result get_status(void *context, uint8_t *status)
{
	(void)context;
	*status = status_register;
	if (resting)
		*status |= VIODMA_STATUS_DRIVER;
	return VIODMA_OK;
}

static enum viodma_result set_status(void *context, uint8_t status)
{
	(void)context;
	if (!status && status_register)
		resting = 3; /* it takes a while; written again meanwhile, it does not begin anew */
	stuck |= dead && !status && status_register & VIODMA_STATUS_DRIVER_OK;
	status_register = status;
	return VIODMA_OK;
}

static enum viodma_result read_config(void *context, uint32_t offset, void *destination, uint32_t len_bytes)
{
	const unsigned char config[64] = {[0] = 100, [12] = 126}; /* capacity, seg_max */

	(void)context;
	memcpy(destination, config + offset, len_bytes);
	return VIODMA_OK;
}

static enum viodma_result queue_size_max(void *context, unsigned index, uint32_t *size)
{
	(void)context;
	*size = index ? 0 : swapped ? 32 : 256; /* less than the driver would like, or more */
	return VIODMA_OK;
}

static enum viodma_result queue_enable(void *context, unsigned index, const struct viodma_transport_queue *place)
{
	(void)context;
	(void)index;
	where = *place;
	return VIODMA_OK;
}

static void serve(uint16_t head)
{
	struct descriptor {
		uint64_t bus;
		uint32_t len_bytes;
		uint16_t flags, next;
	} *table = at(where.desc.v), *one = table + head;
	uint16_t *used = at(where.used.v);
	uint32_t *element = (uint32_t *)(used + 2) + 2 * (used[1] % where.size), written = 0;
	uint64_t sector;

	if (one->flags & 4) /* an indirect one */
		one = table = at(one->bus);
	sector = ((const uint64_t *)at(one->bus))[1];
	while (one->flags & 1) {
		one = table + one->next;
		memset(at(one->bus), one->flags & 1 ? (int)sector : 0, one->len_bytes); /* the last is the status */
		written += one->len_bytes;
	}
	element[0] = head;
	element[1] = written;
	used[1]++;
}

static void notify(void *context, unsigned index)
{
	(void)context;
	(void)index;
}

void board_rest(void)
{
	const uint16_t *available = where.size ? at(where.avail.v) : NULL;

	if (resting && !stuck)
		resting--;
	while (status_register & VIODMA_STATUS_DRIVER_OK && !silent && taken != available[1])
		serve(available[2 + taken++ % where.size]);
}

static const struct viodma_transport_ops ops = {
	.get_features = get_features,
	.set_features = set_features,
	.get_status = get_status,
	.set_status = set_status,
	.read_config = read_config,
	.queue_size_max = queue_size_max,
	.queue_enable = queue_enable,
	.notify = notify,
};
const struct viodma_transport board_disk = {.ops = &ops, .name = "disk"};

uint64_t board_now_ns(void)
{
	static uint64_t now;

	return now += PATIENCE_NS / 1000;
}

int main(int argc, char **argv)
{
	static unsigned char sector[512];
	enum viodma_result result;

	swapped = argc > 1 && !strcmp(argv[1], "swapped");
	stuck = argc > 1 && !strcmp(argv[1], "stuck");
	dead = argc > 1 && !strcmp(argv[1], "dead");
	silent = dead || (argc > 1 && !strcmp(argv[1], "silent"));
	status_register = VIODMA_STATUS_DRIVER; /* as firmware left it */
	if (!swapped)
		result = board_read_sector(7, sector);
	else if ((result = board_start_swapped()) == VIODMA_OK)
		result = read_sector(7, sector);
	printf("%s, domain %s, bit 33 %s, %d..%d\n", viodma_result_name(result), viodma_domain_kind_name(domain.kind),
	       accepted_register & VIODMA_FEATURE(VIRTIO_F_ACCESS_PLATFORM_BIT) ? "set" : "clear", sector[0], sector[511]);
	return result != VIODMA_OK;
}
