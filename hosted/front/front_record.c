/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * front_record.c - how it works: where INFLIGHT_SHMFD was agreed on, the back end makes a file in which it records what it
 * has taken from the rings and not given back yet. It is asked for before the first ring is set up, given back at once
 * (which is how back ends in use take it into use), and given to a successor. Here it is a descriptor and four numbers: what
 * is in it is the back ends' affair. A reset ends it, because then nothing is in flight. The reset of one queue ends that
 * queue's part, which is cleared: else a successor would take it for one of the ring that is set up there next.
 *
 * The file is a peer's: it is written to only if it is memory (nothing else has seals), and never mapped.
 *
 * The size of a queue is fixed in it, so it is made anew if a larger one is set up before DRIVER_OK (front_queues.c).
 */
#include "hosted/front/front.h"

#include "core/base/require.h"

#include <fcntl.h>
#include <unistd.h>

enum viodma_result viodma_front_record_set(struct viodma_front *front)
{
	const struct viodma_front_record *record = &front->record;

	if (record->fd < 0)
		return VIODMA_OK;
	return viodma_front_command(front, VHOST_USER_SET_INFLIGHT_FD, &record->inflight, sizeof(record->inflight),
				    &record->fd, 1);
}

enum viodma_result viodma_front_record_get(struct viodma_front *front, uint32_t size)
{
	const struct vhost_user_inflight wanted = {.num_queues = (uint16_t)front->queue_count, .queue_size = (uint16_t)size};
	struct vhost_user_inflight inflight;
	enum viodma_result result;
	int fd = -1;

	if (!viodma_front_has(front, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD_BIT))
		return VIODMA_OK;
	if (front->record.fd >= 0)
		return size <= front->record.inflight.queue_size ? VIODMA_OK : VIODMA_E_BUSY;
	result = viodma_front_post(front, VHOST_USER_GET_INFLIGHT_FD, false, &wanted, sizeof(wanted), NULL, 0);
	if (result == VIODMA_OK)
		result = viodma_front_await_descriptor(front, VHOST_USER_GET_INFLIGHT_FD, &inflight, sizeof(inflight), &fd);
	if (result != VIODMA_OK)
		return result;
	front->record = (struct viodma_front_record){fd, inflight};
	if (!VIODMA_REQUIRE(PLT_9, inflight.mmap_size && inflight.num_queues == wanted.num_queues &&
					   inflight.queue_size == wanted.queue_size))
		return viodma_front_break(front, VIODMA_PEER_MESSAGE,
					  "a record of %llu bytes for %u queues of %u, asked for were %u of %u",
					  (unsigned long long)inflight.mmap_size, inflight.num_queues, inflight.queue_size,
					  wanted.num_queues, wanted.queue_size);
	result = viodma_front_record_set(front);
	if (result == VIODMA_E_IO)
		viodma_front_record_drop(front);
	return result;
}

void viodma_front_record_drop(struct viodma_front *front)
{
	viodma_descriptor_close(&front->record.fd);
}

/* Of one queue in it, as the protocol's document lays it out. */
static uint64_t part_bytes(const struct viodma_front *front)
{
	const uint64_t size = front->record.inflight.queue_size;
	const uint64_t bytes = viodma_front_is_packed(front) ? sizeof(struct vhost_user_inflight_packed) +
								      size * sizeof(struct vhost_user_inflight_packed_state)
							     : sizeof(struct vhost_user_inflight_split) +
								      size * sizeof(struct vhost_user_inflight_split_state);

	return (bytes + VHOST_USER_INFLIGHT_ALIGN - 1) & ~(uint64_t)(VHOST_USER_INFLIGHT_ALIGN - 1);
}

void viodma_front_record_clear(struct viodma_front *front, unsigned index)
{
	static const unsigned char zeros[4096];
	const struct viodma_front_record *record = &front->record;
	const uint64_t part = part_bytes(front), first = part * index;

	if (record->fd < 0 || fcntl(record->fd, F_GET_SEALS) < 0 || record->inflight.mmap_size < first + part ||
	    record->inflight.mmap_offset > (uint64_t)INT64_MAX - first - part)
		return;
	for (uint64_t done = 0; done < part;) {
		const size_t bytes = part - done < sizeof(zeros) ? (size_t)(part - done) : sizeof(zeros);
		const ssize_t put = pwrite(record->fd, zeros, bytes, (off_t)(record->inflight.mmap_offset + first + done));

		if (put <= 0)
			return; /* whose it is, its loss */
		done += (uint64_t)put;
	}
}
