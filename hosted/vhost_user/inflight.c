/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * inflight.c - how it works: GET_INFLIGHT_FD makes a region, a sealed memfd of zeros, and keeps nothing of it. The front end
 * hands it over with SET_INFLIGHT_FD, to this process and to those that come after it. Each ring that starts then is
 * given its part as the record of its queue (viodma/queue.h), split or packed as accepted; the queue settles it against
 * the ring before it takes anything (inflight_split.c, inflight_packed.c).
 *
 * The region is memory of the front end like any other: mapped by memory.c, guarded against truncation, and not trusted
 * (PLT-12). It stays until the next one, or the end of the connection.
 *
 * A ring that the driver began anew has nothing in flight, whatever its part says: after RESET_DEVICE; after SET_STATUS 0,
 * if it starts at a fresh ring's base; and if it starts somewhere else than where GET_VRING_BASE said that it stopped. Unless
 * the front end has handed a region over since: then it means what is in it.
 */
#include "hosted/vhost_user/inflight.h"
#include "hosted/vhost_user/messages.h"

#include "core/base/require.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- the record of a queue ---- */

static enum viodma_result peek_used(void *context, uint16_t position, bool wrap, bool *used)
{
	return viodma_queue_peek_used(context, position, wrap, used);
}

static enum viodma_result resume(void *context, struct viodma_queue *queue, struct viodma_queue_chain *chains,
				 uint32_t *count, uint32_t *base)
{
	struct viodma_record *record = context;
	const struct viodma_inflight_peek peek = {peek_used, queue};
	uint16_t used_index;
	enum viodma_result result;

	if (record->packed)
		return viodma_inflight_packed_resume(&record->as.packed, queue->setup.size, &peek, chains, count, base);
	result = viodma_queue_peek_index(queue, &used_index);
	if (result != VIODMA_OK)
		return result;
	return viodma_inflight_split_resume(&record->as.split, queue->setup.size, used_index, chains, count, base);
}

static void taken(void *context, const struct viodma_queue_chain *chain)
{
	struct viodma_record *record = context;

	if (record->packed)
		viodma_inflight_packed_taken(&record->as.packed, chain);
	else
		viodma_inflight_split_taken(&record->as.split, chain->id);
}

static void returning(void *context, uint16_t id)
{
	struct viodma_record *record = context;

	if (record->packed)
		viodma_inflight_packed_returning(&record->as.packed, id);
	else
		viodma_inflight_split_returning(&record->as.split, id);
}

static void returned(void *context, uint16_t id, uint32_t base)
{
	struct viodma_record *record = context;

	(void)base; /* known already */
	if (record->packed)
		viodma_inflight_packed_returned(&record->as.packed, id);
	else
		viodma_inflight_split_returned(&record->as.split, id);
}

static void given_back(void *context, uint16_t id)
{
	struct viodma_record *record = context;

	if (record->packed)
		viodma_inflight_packed_given_back(&record->as.packed, id);
	else
		viodma_inflight_split_given_back(&record->as.split, id);
}

static const struct viodma_queue_record_ops record_ops = {
	.resume = resume,
	.taken = taken,
	.returning = returning,
	.returned = returned,
	.given_back = given_back,
};

/* ---- each ring's part ---- */

/* Where a ring's part begins; NULL: the region has none for it. */
static unsigned char *part_of(const struct viodma_vring *ring, bool packed)
{
	const struct viodma_inflight *inflight = &ring->backend->inflight;
	const uint64_t bytes = viodma_inflight_bytes(packed, inflight->desc_num);

	if (!inflight->region.memory || ring->index >= inflight->queue_count ||
	    bytes > inflight->region.len_bytes / (ring->index + 1))
		return NULL;
	return (unsigned char *)inflight->region.memory + ring->index * bytes;
}

enum viodma_result viodma_record_attach(struct viodma_vring *ring, bool packed)
{
	struct viodma_record *record = &ring->record;
	const uint32_t desc_num = ring->backend->inflight.desc_num;
	unsigned char *part = part_of(ring, packed), *memory = record->memory;

	ring->queue.config.record = NULL;
	if (!part)
		return ring->backend->inflight.region.memory ? VIODMA_PEER_RECORD : VIODMA_OK; /* = PLT-12 */
	record->packed = packed;
	if (packed)
		record->as.packed = (struct viodma_inflight_packed){
			.header = (struct vhost_user_inflight_packed *)(void *)part,
			.states = (void *)(part + sizeof(struct vhost_user_inflight_packed)),
			.desc_num = desc_num,
			.descriptors = (void *)memory,
			.entries = (void *)(memory + desc_num * sizeof(struct virtq_packed_desc)),
			.heads = (void *)(memory + desc_num * (sizeof(struct virtq_packed_desc) +
							       sizeof(struct viodma_inflight_entry))),
		};
	else
		record->as.split = (struct viodma_inflight_split){
			.header = (struct vhost_user_inflight_split *)(void *)part,
			.states = (void *)(part + sizeof(struct vhost_user_inflight_split)),
			.desc_num = desc_num,
			.order = (void *)memory,
		};
	ring->queue.config.record = &record_ops;
	ring->queue.config.record_context = record;
	return VIODMA_OK;
}

void viodma_record_forget(struct viodma_vring *ring)
{
	unsigned char *part = part_of(ring, ring->record.packed);

	/* A record of version 0 was never written; the version stands at the same place in both. */
	if (part && ring->queue.config.record)
		viodma_inflight_put16(part + offsetof(struct vhost_user_inflight_split, version), 0);
}

/* Private memory of a ring's record, either kind. */
static size_t private_bytes(uint32_t desc_num)
{
	return desc_num *
	       (sizeof(struct virtq_packed_desc) + sizeof(struct viodma_inflight_entry) + sizeof(uint16_t));
}

_Static_assert(sizeof(struct virtq_packed_desc) >= sizeof(uint64_t), "room for a split ring's order, too");

void viodma_inflight_drop(struct viodma_vhost_user *backend)
{
	struct viodma_inflight *inflight = &backend->inflight;

	for (unsigned i = 0; i < backend->options.queue_count; i++) {
		struct viodma_vring *ring = &backend->rings[i];

		ring->queue.config.record = NULL;
		free(ring->record.memory);
		ring->record.memory = NULL;
	}
	if (inflight->region.memory)
		viodma_memory_unmap(&inflight->region);
	memset(inflight, 0, sizeof(*inflight));
}

/* ---- messages ---- */

/* How the rings lie in memory is known once features are set; before, there is room for either. */
static uint64_t bytes_due(const struct viodma_vhost_user *backend, const struct vhost_user_inflight *wire)
{
	const uint64_t features = backend->connection.features_set ? backend->accepted : backend->offered;
	const bool packed = features >> VIRTIO_F_RING_PACKED_BIT & 1;

	return wire->num_queues * viodma_inflight_bytes(packed, wire->queue_size);
}

static enum viodma_verdict check(struct viodma_vhost_user *backend, const struct viodma_message *message)
{
	const struct vhost_user_inflight *wire = &message->payload.inflight;

	if (!wire->num_queues || !wire->queue_size || wire->queue_size > backend->options.queue_size_max || /* = PLT-9 */
	    !VIODMA_REQUIRE(PLT_9, wire->num_queues <= backend->options.queue_count))
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE,
						"%u queues of %u, at most %u of %u", wire->num_queues, wire->queue_size,
						backend->options.queue_count, backend->options.queue_size_max);
	return VIODMA_DONE;
}

static int make_region(uint64_t bytes)
{
	int fd = memfd_create("viodma-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

enum viodma_verdict viodma_handle_get_inflight(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	struct vhost_user_inflight wire = message->payload.inflight;
	int fd;

	if (check(backend, message) != VIODMA_DONE)
		return VIODMA_FATAL;
	wire.mmap_size = bytes_due(backend, &wire);
	wire.mmap_offset = 0;
	fd = make_region(wire.mmap_size);
	if (fd < 0) {
		viodma_backend_log_some(backend, "GET_INFLIGHT_FD of %llu bytes failed: %s",
					(unsigned long long)wire.mmap_size, strerror(errno));
		wire.mmap_size = 0; /* a front end in use takes this for "there is none" */
	}
	viodma_connection_reply_fd(backend, message->header.request, &wire, sizeof(wire), fd);
	return VIODMA_DONE;
}

static enum viodma_verdict no_memory(struct viodma_vhost_user *backend, const struct viodma_message *message)
{
	viodma_inflight_drop(backend);
	return viodma_connection_refuse(backend, message->header.request, VIODMA_E_NO_MEMORY, "its records need memory");
}

enum viodma_verdict viodma_handle_set_inflight(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	const struct vhost_user_inflight *wire = &message->payload.inflight;
	const struct vhost_user_region region = {.size = wire->mmap_size, .mmap_offset = wire->mmap_offset};
	struct viodma_inflight *inflight = &backend->inflight;
	enum viodma_result result;
	const char *why = "";

	if (check(backend, message) != VIODMA_DONE)
		return VIODMA_FATAL;
	if (!VIODMA_REQUIRE(PLT_9, !viodma_vring_any_running(backend)))
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE, "a ring is running");
	if (!VIODMA_REQUIRE(PLT_9, wire->mmap_size >= bytes_due(backend, wire)) || wire->mmap_offset % 8) /* = PLT-9 */
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE,
						"%llu bytes at %llu for %u queues of %u: %llu are due",
						(unsigned long long)wire->mmap_size,
						(unsigned long long)wire->mmap_offset, wire->num_queues,
						wire->queue_size, (unsigned long long)bytes_due(backend, wire));
	viodma_inflight_drop(backend);
	result = viodma_memory_map(backend, &region, message->fds[0], &inflight->region, &why);
	if (result != VIODMA_OK) {
		memset(inflight, 0, sizeof(*inflight));
		return viodma_connection_refuse(backend, message->header.request, result, "%s", why);
	}
	inflight->queue_count = wire->num_queues;
	inflight->desc_num = wire->queue_size;
	for (unsigned i = 0; i < wire->num_queues; i++) {
		struct viodma_vring *ring = &backend->rings[i];

		ring->record.given = true;
		ring->record.memory = calloc(1, private_bytes(wire->queue_size));
		if (!ring->record.memory)
			return no_memory(backend, message);
	}
	viodma_backend_log_some(backend, "in-flight region: %u queues of %u, %llu bytes", wire->num_queues,
				wire->queue_size, (unsigned long long)wire->mmap_size);
	return VIODMA_DONE;
}
