/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver_blk.c - how it works: virtio-blk, driver half (virtio 1.2, section 5.2).
 *
 * init reads the configuration once, as far as accepted features give it a meaning, and checks it (DEV-22); what it
 * says and what the domain says is combined into the size of a part (driver_blk_parts.c). Ring memory for a header and
 * a status byte of each part is allocated; statuses have a line each while the pool's runs are large enough for that.
 *
 * A request is in one of two lists from submit to done: with something to send yet, or all of it sent. One poll:
 *   take in what the queues have -> send in order -> publish, kick -> ask for calls -> deadlines
 * Its work is bounded by what was in flight and what was waiting when it began (what `done` submits is sent next time).
 *
 * Deadlines: `deadline_ns` is a time before which none passes; requests are looked through only after it.
 */
#include "driver_blk_parts.h"

#include <viodma/port.h>
#include <viodma/wire/blk.h>

#include "../base/require.h"

#define SECTOR VIRTIO_BLK_SECTOR_BYTES
#define LINE_BYTES 64u
#define BATCH 16u

uint64_t viodma_driver_blk_wanted(void)
{
	return VIODMA_FEATURE(VIRTIO_BLK_F_SIZE_MAX_BIT) | VIODMA_FEATURE(VIRTIO_BLK_F_SEG_MAX_BIT) |
	       VIODMA_FEATURE(VIRTIO_BLK_F_RO_BIT) | VIODMA_FEATURE(VIRTIO_BLK_F_BLK_SIZE_BIT) |
	       VIODMA_FEATURE(VIRTIO_BLK_F_FLUSH_BIT) | VIODMA_FEATURE(VIRTIO_BLK_F_MQ_BIT) |
	       viodma_driver_ring_wanted();
}

static bool accepted(const struct viodma_driver *driver, unsigned bit)
{
	return driver->decision.accepted & VIODMA_FEATURE(bit);
}

/* ---- what the device says ---- */

/* As much of the configuration as accepted features give a meaning; the rest is 0. */
static enum viodma_result read_layout(struct viodma_driver *driver, struct virtio_blk_config_layout *layout)
{
	uint32_t len = offsetof(struct virtio_blk_config_layout, size_max);

	memset(layout, 0, sizeof(*layout));
	if (accepted(driver, VIRTIO_BLK_F_SIZE_MAX_BIT))
		len = offsetof(struct virtio_blk_config_layout, seg_max);
	if (accepted(driver, VIRTIO_BLK_F_SEG_MAX_BIT))
		len = offsetof(struct virtio_blk_config_layout, geometry);
	if (accepted(driver, VIRTIO_BLK_F_BLK_SIZE_BIT))
		len = offsetof(struct virtio_blk_config_layout, topology);
	if (accepted(driver, VIRTIO_BLK_F_MQ_BIT))
		len = offsetof(struct virtio_blk_config_layout, max_discard_sectors);
	return viodma_driver_read_config(driver, 0, layout, len);
}

enum viodma_result viodma_driver_blk_queues(struct viodma_driver *driver, uint16_t *queues)
{
	struct virtio_blk_config_layout layout;
	enum viodma_result result;

	*queues = 1;
	if (!accepted(driver, VIRTIO_BLK_F_MQ_BIT))
		return VIODMA_OK;
	result = read_layout(driver, &layout);
	if (result != VIODMA_OK)
		return result;
	*queues = viodma_le16_get(layout.num_queues);
	return VIODMA_REQUIRE(DEV_22, *queues) ? VIODMA_OK : VIODMA_PEER_ANSWER;
}

/* VIODMA_PEER_ANSWER: what it says cannot be. */
static enum viodma_result take_layout(struct viodma_driver_blk *blk, const struct virtio_blk_config_layout *layout)
{
	const struct viodma_driver *driver = blk->config.driver;

	blk->capacity_sectors = viodma_le64_get(layout->capacity);
	blk->seg_max = blk->device_queues = 1; /* unless it says more */
	blk->size_max = UINT32_MAX;
	blk->blk_size = SECTOR;
	if (accepted(driver, VIRTIO_BLK_F_SEG_MAX_BIT))
		blk->seg_max = viodma_le32_get(layout->seg_max);
	if (accepted(driver, VIRTIO_BLK_F_SIZE_MAX_BIT))
		blk->size_max = viodma_le32_get(layout->size_max);
	if (!blk->size_max) /* what QEMU's storage daemon says, which offers the bit and has no limit */
		blk->size_max = UINT32_MAX;
	if (accepted(driver, VIRTIO_BLK_F_BLK_SIZE_BIT))
		blk->blk_size = viodma_le32_get(layout->blk_size);
	if (accepted(driver, VIRTIO_BLK_F_MQ_BIT))
		blk->device_queues = viodma_le16_get(layout->num_queues);
	blk->read_only = accepted(driver, VIRTIO_BLK_F_RO_BIT);
	blk->flush = blk->writeback = accepted(driver, VIRTIO_BLK_F_FLUSH_BIT);
	if (!VIODMA_REQUIRE(DEV_22, blk->capacity_sectors <= UINT64_MAX / SECTOR))
		return VIODMA_PEER_ANSWER;
	if (!VIODMA_REQUIRE(DEV_22, blk->seg_max && blk->device_queues))
		return VIODMA_PEER_ANSWER;
	if (!VIODMA_REQUIRE(DEV_22, blk->blk_size >= SECTOR && !(blk->blk_size & (blk->blk_size - 1))))
		return VIODMA_PEER_ANSWER;
	return VIODMA_OK;
}

/* ---- life ---- */

static bool config_holds(const struct viodma_driver_blk_config *config)
{
	uint32_t i;

	if (!config->driver || !config->domain || !config->queue_count ||
	    config->queue_count > VIODMA_DRIVER_BLK_QUEUES_MAX || !config->parts || config->parts > 32768 ||
	    !config->segments_max || config->segments_max > 32768 || !config->storage ||
	    config->storage_bytes < VIODMA_DRIVER_BLK_STORAGE_BYTES(config->parts, config->segments_max) ||
	    ((uintptr_t)config->storage & (_Alignof(struct viodma_driver_blk_part) - 1)))
		return false;
	for (i = 0; i < config->queue_count; i++) /* a header, data, and a status */
		if (!config->queues[i] || config->queues[i]->config.size < 3)
			return false;
	return true;
}

/* A chain of seg_max segments fits into each queue, into its tables where it has some that are of use. */
static void lower_to_queues(struct viodma_driver_blk *blk)
{
	uint32_t i;

	if (blk->seg_max > blk->config.segments_max)
		blk->seg_max = blk->config.segments_max;
	for (i = 0; i < blk->config.queue_count; i++) {
		const struct viodma_driver_queue_config *queue = &blk->config.queues[i]->config;
		uint32_t room = queue->table_descriptors >= 3 ? queue->table_descriptors : queue->size;

		if (blk->seg_max > room - 2)
			blk->seg_max = room - 2;
	}
}

static void lay_out(struct viodma_driver_blk *blk)
{
	const struct viodma_driver_blk_config *config = &blk->config;
	unsigned char *at = config->storage;
	struct viodma_segment *segments;
	struct viodma_buffer *buffers;
	uint32_t i;

	blk->parts = (struct viodma_driver_blk_part *)(void *)at;
	at += config->parts * sizeof(struct viodma_driver_blk_part);
	segments = (struct viodma_segment *)(void *)at;
	at += config->parts * (2 * (size_t)config->segments_max + 2) * sizeof(struct viodma_segment);
	buffers = (struct viodma_buffer *)(void *)at;
	for (i = 0; i < config->parts; i++) {
		struct viodma_driver_blk_part *part = &blk->parts[i];

		memset(part, 0, sizeof(*part));
		part->number = i;
		part->next = i + 1 < config->parts ? i + 1 : VIODMA_DRIVER_BLK_NO_PART;
		part->segments = segments + i * (2 * (size_t)config->segments_max + 2);
		part->uncut = part->segments + config->segments_max + 2;
		part->buffers = buffers + i * (size_t)config->segments_max;
	}
	blk->part_free = 0;
}

static enum viodma_result release(struct viodma_driver_blk *blk)
{
	enum viodma_result result = VIODMA_OK;

	if (blk->statuses.memory && viodma_domain_release(&blk->statuses) != VIODMA_OK)
		result = VIODMA_E_QUARANTINED;
	if (blk->headers.memory && viodma_domain_release(&blk->headers) != VIODMA_OK)
		result = VIODMA_E_QUARANTINED;
	blk->statuses.memory = blk->headers.memory = NULL;
	return result;
}

/* So many bytes for each part; closer together if a run of the pool does not hold them. */
static enum viodma_result allocate_statuses(struct viodma_driver_blk *blk, uint32_t align)
{
	enum viodma_result result;

	blk->status_bytes = align > LINE_BYTES ? align : LINE_BYTES;
	for (;;) {
		result = viodma_domain_alloc(blk->config.domain, &blk->statuses,
					     (uint64_t)blk->config.parts * blk->status_bytes, blk->status_bytes,
					     VIODMA_FROM_DEVICE);
		if (result != VIODMA_E_LIMIT || blk->status_bytes == align)
			break;
		blk->status_bytes = align;
	}
	if (result != VIODMA_OK)
		blk->statuses.memory = NULL;
	return result;
}

static enum viodma_result allocate(struct viodma_driver_blk *blk)
{
	struct viodma_limits limits;
	enum viodma_result result;
	uint32_t align;

	viodma_domain_limits(blk->config.domain, &limits);
	align = limits.alignment_bytes ? limits.alignment_bytes : 1;
	blk->header_bytes =
		align > sizeof(struct virtio_blk_request_header) ? align : sizeof(struct virtio_blk_request_header);
	result = viodma_domain_alloc(blk->config.domain, &blk->headers, (uint64_t)blk->config.parts * blk->header_bytes,
				     align > LINE_BYTES ? align : LINE_BYTES, VIODMA_TO_DEVICE);
	if (result != VIODMA_OK) {
		blk->headers.memory = NULL;
		return result;
	}
	result = allocate_statuses(blk, align);
	if (result != VIODMA_OK)
		return result;
	viodma_driver_blk_clear_statuses(blk);
	viodma_domain_limits(blk->config.domain, &limits); /* of what is left now */
	return viodma_driver_blk_measure(blk, &limits);
}

enum viodma_result viodma_driver_blk_init(struct viodma_driver_blk *blk, const struct viodma_driver_blk_config *config)
{
	struct virtio_blk_config_layout layout;
	enum viodma_result result;

	if (!config_holds(config))
		return VIODMA_E_INVALID;
	memset(blk, 0, sizeof(*blk));
	blk->config = *config;
	blk->deadline_ns = UINT64_MAX;
	result = read_layout(config->driver, &layout);
	if (result == VIODMA_OK)
		result = take_layout(blk, &layout);
	if (result == VIODMA_OK) {
		lower_to_queues(blk);
		lay_out(blk);
		result = allocate(blk);
	}
	if (result != VIODMA_OK) {
		(void)release(blk);
		blk->stopped = true;
	}
	return result;
}

enum viodma_result viodma_driver_blk_free(struct viodma_driver_blk *blk)
{
	bool late;

	if (blk->first || blk->out_first || blk->parts_out)
		return VIODMA_E_BUSY;
	late = blk->stopped && blk->statuses.memory && !VIODMA_REQUIRE(DEV_14, viodma_driver_blk_statuses_clear(blk));
	blk->stopped = true;
	if (release(blk) != VIODMA_OK)
		return VIODMA_E_QUARANTINED;
	return late ? VIODMA_PEER_LATE_WRITE : VIODMA_OK;
}

/* ---- the two lists ---- */

void viodma_driver_blk_enlist(struct viodma_driver_blk *blk, struct viodma_driver_blk_request *request, bool sending)
{
	struct viodma_driver_blk_request **first = sending ? &blk->first : &blk->out_first;
	struct viodma_driver_blk_request **last = sending ? &blk->last : &blk->out_last;

	request->sending = sending;
	request->next = NULL;
	request->previous = *last;
	if (*last)
		(*last)->next = request;
	else
		*first = request;
	*last = request;
}

void viodma_driver_blk_delist(struct viodma_driver_blk *blk, struct viodma_driver_blk_request *request)
{
	struct viodma_driver_blk_request **first = request->sending ? &blk->first : &blk->out_first;
	struct viodma_driver_blk_request **last = request->sending ? &blk->last : &blk->out_last;

	if (request->previous)
		request->previous->next = request->next;
	else
		*first = request->next;
	if (request->next)
		request->next->previous = request->previous;
	else
		*last = request->previous;
}

void viodma_driver_blk_end(struct viodma_driver_blk *blk, struct viodma_driver_blk_request *request)
{
	viodma_driver_blk_delist(blk, request);
	blk->statistics.requests++;
	if (request->result != VIODMA_OK)
		blk->statistics.failed++;
	request->done(request->context, request, request->result); /* it is the caller's again */
}

/* ---- requests ---- */

static enum viodma_result check(const struct viodma_driver_blk *blk, const struct viodma_driver_blk_request *request,
				uint64_t *len_bytes)
{
	uint64_t sectors;
	uint32_t i;

	*len_bytes = 0;
	for (i = 0; i < request->buffer_count; i++) {
		if (!request->buffers[i].len_bytes)
			return VIODMA_E_INVALID;
		*len_bytes += request->buffers[i].len_bytes;
	}
	switch (request->operation) {
	case VIODMA_DRIVER_BLK_FLUSH:
		return *len_bytes ? VIODMA_E_INVALID : VIODMA_OK;
	case VIODMA_DRIVER_BLK_GET_ID:
		return request->buffer_count == 1 && *len_bytes == VIODMA_DRIVER_BLK_ID_BYTES ? VIODMA_OK
											      : VIODMA_E_INVALID;
	case VIODMA_DRIVER_BLK_READ:
	case VIODMA_DRIVER_BLK_WRITE:
		break;
	default:
		return VIODMA_E_INVALID;
	}
	sectors = *len_bytes / SECTOR;
	if (!sectors || *len_bytes % SECTOR || request->sector > blk->capacity_sectors ||
	    sectors > blk->capacity_sectors - request->sector)
		return VIODMA_E_INVALID;
	return request->operation == VIODMA_DRIVER_BLK_WRITE && blk->read_only ? VIODMA_E_UNSUPPORTED : VIODMA_OK;
}

enum viodma_result viodma_driver_blk_submit(struct viodma_driver_blk *blk, struct viodma_driver_blk_request *request)
{
	uint64_t len_bytes;
	enum viodma_result result = blk->stopped ? VIODMA_E_RESET : check(blk, request, &len_bytes);

	if (result != VIODMA_OK)
		return result;
	if (!request->done)
		return VIODMA_E_INVALID;
	request->len_bytes = len_bytes;
	request->next_byte = 0;
	request->next_buffer = request->next_offset = request->parts_out = 0;
	request->result = VIODMA_OK;
	viodma_driver_blk_enlist(blk, request, true);
	if (request->deadline_ns < blk->deadline_ns)
		blk->deadline_ns = request->deadline_ns;
	return VIODMA_OK;
}

uint64_t viodma_driver_blk_next_deadline(const struct viodma_driver_blk *blk)
{
	const struct viodma_driver_blk_request *request;
	uint64_t earliest = UINT64_MAX;

	for (request = blk->first; request; request = request->next)
		if (request->deadline_ns < earliest)
			earliest = request->deadline_ns;
	for (request = blk->out_first; request; request = request->next)
		if (request->deadline_ns < earliest)
			earliest = request->deadline_ns;
	return earliest;
}

/* ---- polling ---- */

static enum viodma_result take_in(struct viodma_driver_blk *blk, struct viodma_driver_queue *queue)
{
	struct viodma_driver_completion completions[BATCH];
	enum viodma_result result;
	uint32_t count, i;

	viodma_driver_queue_want_no_call(queue);
	while ((result = viodma_driver_queue_get_batch(queue, completions, BATCH, &count)) == VIODMA_OK)
		for (i = 0; i < count; i++)
			viodma_driver_blk_part_used(blk, completions[i].token, completions[i].written_bytes);
	return result == VIODMA_EMPTY ? VIODMA_OK : result;
}

/* Show what was added, and say that we want to hear. True: something is there already. */
static bool publish(struct viodma_driver_blk *blk)
{
	const struct viodma_transport *transport = &blk->config.driver->transport;
	bool more = false;
	uint32_t i;

	for (i = 0; i < blk->config.queue_count; i++) {
		struct viodma_driver_queue *queue = blk->config.queues[i];

		viodma_driver_queue_publish(queue);
		viodma_driver_queue_kick(queue, transport);
		more |= viodma_driver_queue_want_call(queue);
	}
	return more;
}

enum viodma_result viodma_driver_blk_poll(struct viodma_driver_blk *blk, uint64_t now_ns)
{
	const uint64_t ended = blk->statistics.requests;
	enum viodma_result result;
	bool more;
	uint32_t i;

	if (blk->stopped)
		return VIODMA_E_RESET;
	for (i = 0; i < blk->config.queue_count; i++) {
		result = take_in(blk, blk->config.queues[i]);
		if (result != VIODMA_OK)
			return result;
	}
	result = viodma_driver_blk_send(blk);
	more = publish(blk) || result == VIODMA_WAIT;
	if (result != VIODMA_OK && result != VIODMA_WAIT)
		return result;
	/* Whatever there may be at once: a used index that comes and goes puts off no deadline. */
	if (now_ns >= blk->deadline_ns) {
		blk->deadline_ns = viodma_driver_blk_next_deadline(blk);
		if (!VIODMA_REQUIRE(DEV_20, now_ns < blk->deadline_ns))
			return VIODMA_PEER_SILENT;
	}
	return more || blk->statistics.requests != ended ? VIODMA_OK : VIODMA_EMPTY;
}

/* ---- the end ---- */

static void end_all(struct viodma_driver_blk *blk, struct viodma_driver_blk_request *const *first,
		    enum viodma_result result)
{
	while (*first) {
		struct viodma_driver_blk_request *request = *first;

		if (request->result != VIODMA_E_QUARANTINED)
			request->result = result;
		viodma_driver_blk_end(blk, request);
	}
}

void viodma_driver_blk_stop(struct viodma_driver_blk *blk, enum viodma_result result)
{
	void *token;
	uint32_t i;

	if (blk->stopped)
		return;
	blk->stopped = true;
	for (i = 0; i < blk->config.queue_count; i++)
		while (viodma_driver_queue_take_back(blk->config.queues[i], &token) == VIODMA_OK) {
			struct viodma_driver_blk_part *part = token;
			struct viodma_driver_blk_request *request = part->request;

			if (viodma_driver_blk_part_dropped(blk, part) == VIODMA_E_QUARANTINED)
				request->result = VIODMA_E_QUARANTINED; /* = DRV-22 */
		}
	viodma_driver_blk_clear_statuses(blk);
	end_all(blk, &blk->out_first, result);
	end_all(blk, &blk->first, result);
}
