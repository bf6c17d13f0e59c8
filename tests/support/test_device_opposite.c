/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_device_opposite.c - how it works: the device of test_device.h: its transport; the sound one, which is
 * viodma_queue and viodma_blk over a space whose translator looks grants up; and the ring's words by hand.
 */
#include "tests/support/test_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "test device: %s\n", what);
	abort();
}

/* ---- the transport ---- */

static bool fails(struct test_device *device)
{
	return ++device->calls == device->fail_at || device->failure == VIODMA_PEER_GONE;
}

static enum viodma_result failed(struct test_device *device)
{
	return device->failure != VIODMA_OK ? device->failure : VIODMA_E_IO;
}

static enum viodma_result get_features(void *context, uint64_t *offered)
{
	struct test_device *device = context;

	if (fails(device))
		return failed(device);
	*offered = device->offered;
	return VIODMA_OK;
}

static enum viodma_result set_features(void *context, uint64_t accepted)
{
	struct test_device *device = context;

	if (fails(device))
		return failed(device);
	device->accepted = accepted;
	return VIODMA_OK;
}

static enum viodma_result get_status(void *context, uint8_t *status)
{
	struct test_device *device = context;

	if (fails(device))
		return failed(device);
	*status = device->status;
	if (!device->status && device->reset_reads) {
		*status = VIODMA_STATUS_ACKNOWLEDGE;
		if (device->reset_reads != ~0u)
			device->reset_reads--;
	}
	return VIODMA_OK;
}

static void stop_queue(struct test_device *device, struct test_device_queue *queue)
{
	uint32_t base;

	if (!queue->enabled)
		return;
	device->pending_count = 0;
	if (queue->queue.submitted)
		test_device_finish(device);
	must(viodma_queue_stop(&queue->queue, &base) == VIODMA_OK, "a queue does not stop");
	viodma_queue_reset(&queue->queue);
	queue->enabled = false;
}

static enum viodma_result set_status(void *context, uint8_t status)
{
	struct test_device *device = context;
	unsigned i;

	if (fails(device))
		return failed(device);
	if (!status) {
		test_device_finish(device);
		for (i = 0; i < TEST_DEVICE_QUEUES; i++)
			stop_queue(device, &device->queues[i]);
	}
	if (device->clear_features_ok)
		status &= (uint8_t)~VIODMA_STATUS_FEATURES_OK;
	device->status = status;
	return VIODMA_OK;
}

static enum viodma_result read_config(void *context, uint32_t offset, void *destination, uint32_t len)
{
	struct test_device *device = context;

	if (fails(device))
		return failed(device);
	must(offset <= sizeof(device->config) && len <= sizeof(device->config) - offset,
	     "configuration read beyond its end");
	memcpy(destination, device->config + offset, len);
	return VIODMA_OK;
}

static enum viodma_result write_config(void *context, uint32_t offset, const void *source, uint32_t len)
{
	(void)context;
	(void)offset;
	(void)source;
	(void)len;
	return VIODMA_E_UNSUPPORTED;
}

static enum viodma_result config_generation(void *context, uint32_t *generation)
{
	struct test_device *device = context;

	if (fails(device))
		return failed(device);
	if (device->changing_config)
		device->generation++;
	*generation = device->generation;
	return VIODMA_OK;
}

static enum viodma_result queue_size_max(void *context, unsigned index, uint32_t *size)
{
	struct test_device *device = context;

	if (fails(device))
		return failed(device);
	*size = index < TEST_DEVICE_QUEUES ? device->queues[index].size_max : 0;
	return VIODMA_OK;
}

static enum viodma_result queue_enable(void *context, unsigned index, const struct viodma_transport_queue *where)
{
	struct test_device *device = context;
	struct test_device_queue *queue = &device->queues[index];
	struct viodma_queue_setup setup = {
		.size = where->size, .desc = where->desc, .avail = where->avail, .used = where->used};

	if (fails(device))
		return failed(device);
	setup.indirect_desc = device->accepted & VIODMA_FEATURE(VIRTIO_F_INDIRECT_DESC_BIT);
	setup.event_idx = device->accepted & VIODMA_FEATURE(VIRTIO_F_EVENT_IDX_BIT);
	queue->where = *where;
	queue->avail_seen = queue->used_idx = 0;
	must(viodma_queue_start(&queue->queue, &setup, NULL) == VIODMA_OK, "a queue does not start");
	queue->enabled = true;
	return VIODMA_OK;
}

static enum viodma_result set_addressing(void *context, bool platform)
{
	struct test_device *device = context;

	if (fails(device))
		return failed(device);
	device->platform_addresses = platform;
	return VIODMA_OK;
}

static void notify(void *context, unsigned index)
{
	struct test_device *device = context;

	device->queues[index].notified++;
	if (device->on_kick)
		device->on_kick(&device->queues[index]);
}

const struct viodma_transport_ops test_device_transport_ops = {
	.get_features = get_features,
	.set_features = set_features,
	.get_status = get_status,
	.set_status = set_status,
	.read_config = read_config,
	.write_config = write_config,
	.config_generation = config_generation,
	.queue_size_max = queue_size_max,
	.queue_enable = queue_enable,
	.set_addressing = set_addressing,
	.notify = notify,
};

/* ---- the sound device ---- */

static void move(struct test_device *device, struct viodma_blk_io *io)
{
	struct viodma_piece pieces[1024];
	unsigned char *disk = device->disk + io->offset_bytes;
	uint32_t count = 0, i;

	must(io->offset_bytes + io->len_bytes <= TEST_DISK_BYTES, "beyond the disk");
	must(viodma_blk_io_pieces(io, 0, io->len_bytes, pieces, 1024, &count) == VIODMA_OK, "viodma_blk_io_pieces");
	for (i = 0; i < count; i++) {
		if (io->operation == VIODMA_BLK_READ)
			memcpy((void *)pieces[i].memory, disk, pieces[i].len_bytes);
		else
			memcpy(disk, (const void *)pieces[i].memory, pieces[i].len_bytes);
		disk += pieces[i].len_bytes;
	}
}

static void complete(struct test_device *device, struct viodma_blk_io *io)
{
	struct test_device_queue *queue = io->user;

	if (!device->broken_disk && io->operation != VIODMA_BLK_FLUSH)
		move(device, io);
	viodma_blk_complete(&queue->blk, io, !device->broken_disk);
}

void test_device_submit(void *context, struct viodma_blk_io *io)
{
	struct test_device_queue *queue = context;

	io->user = queue;
	if (!queue->device->hold) {
		complete(queue->device, io);
		return;
	}
	must(queue->device->pending_count < 256, "more operations than a test needs");
	queue->device->pending[queue->device->pending_count++] = io;
}

void test_device_finish(struct test_device *device)
{
	unsigned i, count = device->pending_count;

	device->pending_count = 0;
	for (i = 0; i < count; i++)
		complete(device, device->pending[device->backward ? count - 1 - i : i]);
}

unsigned test_device_serve(struct test_device *device)
{
	uint64_t before = 0, after = 0;
	unsigned i;

	for (i = 0; i < TEST_DEVICE_QUEUES; i++) {
		struct test_device_queue *queue = &device->queues[i];

		if (!queue->enabled)
			continue;
		before += queue->queue.statistics.fetched;
		while (viodma_blk_process(&queue->blk, &queue->queue) == VIODMA_OK)
			;
		after += queue->queue.statistics.fetched;
	}
	device->served += (unsigned)(after - before);
	return (unsigned)(after - before);
}

/* ---- by hand ---- */

static unsigned char *word(struct test_device_queue *queue, viodma_bus part, uint32_t offset,
			   enum viodma_permission permission)
{
	unsigned char *memory = test_device_at(queue->device, part.v + offset, 2, permission);

	must(memory != NULL, "the device does not reach its ring");
	return memory;
}

static uint16_t get16(struct test_device_queue *queue, viodma_bus part, uint32_t offset)
{
	uint16_t wire;

	memcpy(&wire, word(queue, part, offset, VIODMA_READ), sizeof(wire));
	return viodma_le16_get((viodma_le16){wire});
}

static void put16(struct test_device_queue *queue, uint32_t offset, uint16_t number)
{
	const viodma_le16 wire = viodma_le16_of(number);

	memcpy(word(queue, queue->where.used, offset, VIODMA_WRITE), &wire, sizeof(wire));
}

uint16_t test_device_avail_index(struct test_device_queue *queue)
{
	return get16(queue, queue->where.avail, VIRTQ_AVAIL_IDX);
}

uint16_t test_device_avail_flags(struct test_device_queue *queue)
{
	return get16(queue, queue->where.avail, VIRTQ_AVAIL_FLAGS);
}

uint16_t test_device_used_event(struct test_device_queue *queue)
{
	return get16(queue, queue->where.avail, VIRTQ_AVAIL_USED_EVENT(queue->where.size));
}

void test_device_set_avail_event(struct test_device_queue *queue, uint16_t event)
{
	put16(queue, VIRTQ_USED_AVAIL_EVENT(queue->where.size), event);
}

void test_device_set_used_flags(struct test_device_queue *queue, uint16_t flags)
{
	put16(queue, VIRTQ_USED_FLAGS, flags);
}

void test_device_set_used_index(struct test_device_queue *queue, uint16_t index)
{
	queue->used_idx = index;
	put16(queue, VIRTQ_USED_IDX, index);
}

void test_device_put_used(struct test_device_queue *queue, uint32_t id, uint32_t len_bytes)
{
	const struct virtq_used_elem element = {viodma_le32_of(id), viodma_le32_of(len_bytes)};
	uint32_t at = VIRTQ_USED_RING(queue->used_idx & (queue->where.size - 1));

	memcpy(word(queue, queue->where.used, at, VIODMA_WRITE), &element, sizeof(element));
	test_device_set_used_index(queue, (uint16_t)(queue->used_idx + 1));
}

static bool said(const char *what)
{
	fprintf(stderr, "# chain: %s\n", what);
	return false;
}

static bool resolve(struct test_device_queue *queue, uint64_t table, uint32_t size, uint32_t at,
		    struct test_chain *chain, bool inside)
{
	for (;;) {
		const unsigned char *from;
		struct virtq_desc desc;
		uint32_t flags, len;

		if (at >= size)
			return said("index beyond the table");
		from = test_device_at(queue->device, table + at * sizeof(desc), sizeof(desc), VIODMA_READ);
		if (!from)
			return said("table out of reach");
		memcpy(&desc, from, sizeof(desc));
		flags = viodma_le16_get(desc.flags);
		len = viodma_le32_get(desc.len);
		if (flags & VIRTQ_DESC_F_INDIRECT) {
			if (inside || chain->count || flags != VIRTQ_DESC_F_INDIRECT || !len || len % sizeof(desc))
				return said("indirect descriptor");
			return resolve(queue, viodma_le64_get(desc.addr), len / (uint32_t)sizeof(desc), 0, chain, true);
		}
		if (chain->count == TEST_CHAIN)
			return said("too long for a test");
		chain->part[chain->count].bus = viodma_le64_get(desc.addr);
		chain->part[chain->count].len_bytes = len;
		chain->part[chain->count].writable = flags & VIRTQ_DESC_F_WRITE;
		chain->part[chain->count].memory =
			test_device_at(queue->device, viodma_le64_get(desc.addr), len,
				       flags & VIRTQ_DESC_F_WRITE ? VIODMA_WRITE : VIODMA_READ);
		if (!len || !chain->part[chain->count].memory)
			return said("buffer out of reach");
		if (flags & VIRTQ_DESC_F_WRITE) {
			chain->writable++;
			chain->writable_bytes += len;
		} else if (chain->writable) {
			return said("readable after writable");
		} else {
			chain->readable++;
			chain->readable_bytes += len;
		}
		chain->count++;
		if (!(flags & VIRTQ_DESC_F_NEXT))
			return true;
		at = viodma_le16_get(desc.next);
	}
}

bool test_device_take(struct test_device_queue *queue, struct test_chain *chain)
{
	uint32_t mask = queue->where.size - 1;

	memset(chain, 0, sizeof(*chain));
	if (test_device_avail_index(queue) == queue->avail_seen)
		return false;
	chain->head = get16(queue, queue->where.avail, VIRTQ_AVAIL_RING(queue->avail_seen & mask));
	queue->avail_seen++;
	return resolve(queue, queue->where.desc.v, queue->where.size, chain->head, chain, false);
}
