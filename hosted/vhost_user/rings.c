/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rings.c - how it works: a ring starts once its size, base, addresses and kick descriptor are there, and is looked at
 * once at that moment, because requests may be waiting already. It is worked on while it is started and enabled; it
 * stops with GET_VRING_BASE, a reset, or the end of the connection, and its kick descriptor goes with it, so that no
 * stray kick starts it again. What addresses mean is decided when the first ring starts, and holds until the last has
 * stopped.
 *
 * Work happens in turns: one deferred call of a worker's loop looks at every ring of its that was kicked, has more, or may
 * go on because the space changed; takes at most one queue-full from each; and calls the driver. Another call, or the end
 * of that one where there is only one worker, sends questions, and lets a pending revocation go on. A ring whose poller
 * says so is looked at in each turn for a while (poll_us) before it asks for a kick
 * again; the loop looks at its descriptors between turns, so that rings that are busy starve nobody.
 */
#include "hosted/vhost_user/messages.h"

#include "core/base/require.h"

#include <viodma/wire/ring.h>

#include <stdlib.h>
#include <string.h>

#define LOOKS_PER_TURN 16u /* at a ring that is polled: less than a microsecond */

/* ---- life ---- */

static void *copy_alloc(void *context, size_t bytes)
{
	struct viodma_worker *worker = context;
	void *memory;

	if (bytes > VIODMA_BACKEND_COPY_BYTES - worker->copy_bytes) {
		worker->copy_wanted = true;
		return NULL;
	}
	memory = malloc(bytes);
	if (memory)
		worker->copy_bytes += bytes;
	else /* perhaps nothing of ours is in use: nobody would ever say that there is some */
		viodma_loop_arm(worker->copy_timer, viodma_loop_now_ns() + VIODMA_BACKEND_COPY_RETRY_NS);
	return memory;
}

static void copy_free(void *context, void *memory, size_t bytes)
{
	struct viodma_worker *worker = context;

	free(memory);
	worker->copy_bytes -= bytes;
	if (worker->copy_wanted) { /* by any queue: a release is news for its own only */
		worker->copy_wanted = false;
		worker->copy_room = true;
		viodma_worker_schedule(worker);
	}
}

enum viodma_result viodma_vring_init(struct viodma_vhost_user *backend, unsigned index)
{
	struct viodma_vring *ring = &backend->rings[index];
	struct viodma_worker *worker = &backend->workers[index % backend->worker_count];
	struct viodma_queue_config config = {
		.space = worker->space,
		.index = index,
		.size_max = backend->options.queue_size_max,
		.segments_max = backend->options.segments_max,
		.pieces_max = backend->options.pieces_max,
		.access = backend->options.access,
		.copy_alloc = copy_alloc,
		.copy_free = copy_free,
		.copy_context = worker,
		.copy_bytes_max = VIODMA_BACKEND_COPY_BYTES,
	};

	ring->backend = backend;
	ring->worker = worker;
	ring->index = index;
	ring->kick_fd = ring->call_fd = ring->err_fd = -1;
	viodma_poller_init(&ring->poller, backend->options.poll_us);
	config.memory_bytes = viodma_queue_memory_bytes(&config);
	if (!config.memory_bytes)
		return VIODMA_E_INVALID;
	ring->memory = calloc(1, config.memory_bytes);
	if (!ring->memory)
		return VIODMA_E_NO_MEMORY;
	config.memory = ring->memory;
	return viodma_queue_init(&ring->queue, &config);
}

void viodma_vring_destroy(struct viodma_vring *ring)
{
	viodma_vring_drop_kick(ring);
	viodma_descriptor_close(&ring->call_fd);
	viodma_descriptor_close(&ring->err_fd);
	free(ring->memory);
	free(ring->record.memory);
	ring->memory = ring->record.memory = NULL;
}

bool viodma_vring_any_running(const struct viodma_vhost_user *backend)
{
	for (unsigned i = 0; i < backend->options.queue_count; i++)
		if (backend->rings[i].queue.running)
			return true;
	return false;
}

uint32_t viodma_vring_submitted(const struct viodma_vhost_user *backend)
{
	uint32_t submitted = 0;

	for (unsigned i = 0; i < backend->options.queue_count; i++)
		submitted += backend->rings[i].queue.submitted;
	return submitted;
}

/* ---- start and stop ---- */

/* Ring addresses as the device half uses them. */
static enum viodma_result locate(const struct viodma_vring *ring, struct viodma_queue_setup *setup)
{
	const struct viodma_space *space = &ring->backend->space;
	const uint32_t event_bytes = setup->event_idx ? 2 : 0;
	const uint32_t n = ring->size;
	const bool packed = setup->packed;
	viodma_phys desc, avail, used;

	if (ring->backend->addressing == VIODMA_ADDRESSING_PLATFORM) {
		setup->desc.v = ring->desc;
		setup->avail.v = ring->avail;
		setup->used.v = ring->used;
		return VIODMA_OK;
	}
	if (viodma_space_user_to_phys(space, (viodma_uaddr){ring->desc},
				      packed ? VIRTQ_PACKED_DESC_BYTES(n) : VIRTQ_DESC_BYTES(n), &desc) ||
	    viodma_space_user_to_phys(space, (viodma_uaddr){ring->avail},
				      packed ? VIRTQ_PACKED_EVENT_BYTES : VIRTQ_AVAIL_BYTES(n) - 2 + event_bytes,
				      &avail) ||
	    viodma_space_user_to_phys(space, (viodma_uaddr){ring->used},
				      packed ? VIRTQ_PACKED_EVENT_BYTES : VIRTQ_USED_BYTES(n) - 2 + event_bytes, &used))
		return VIODMA_PEER_MAPPING; /* = PLT-10 */
	setup->desc.v = desc.v;
	setup->avail.v = avail.v;
	setup->used.v = used.v;
	return VIODMA_OK;
}

static bool accepted(const struct viodma_vhost_user *backend, unsigned bit)
{
	return backend->accepted >> bit & 1;
}

static struct viodma_queue_setup setup_of(const struct viodma_vring *ring)
{
	return (struct viodma_queue_setup){
		.size = ring->size,
		.base = ring->base,
		.indirect_desc = accepted(ring->backend, VIRTIO_F_INDIRECT_DESC_BIT),
		.event_idx = accepted(ring->backend, VIRTIO_F_EVENT_IDX_BIT),
		.packed = accepted(ring->backend, VIRTIO_F_RING_PACKED_BIT),
		.in_order = accepted(ring->backend, VIRTIO_F_IN_ORDER_BIT),
		.order_platform = accepted(ring->backend, VIRTIO_F_ORDER_PLATFORM_BIT),
	};
}

static enum viodma_result start_queue(struct viodma_vring *ring, const struct viodma_queue_setup *setup,
				      const char **why)
{
	const bool fresh = setup->base == (setup->packed ? VIODMA_QUEUE_PACKED_BASE : 0);
	uint32_t dropped = 0;
	enum viodma_result result;

	/* A status of 0 may have been the driver's reset, or a pause; a driver starts at 0, and knows of nothing held. */
	if (ring->status_was_reset && fresh)
		viodma_queue_reset(&ring->queue);
	result = viodma_record_attach(ring, setup->packed);
	*why = "the in-flight region has no room for this ring";
	if (result != VIODMA_OK)
		return result;
	if (!ring->record.given && ring->was_stopped &&
	    (setup->base != ring->stopped_base || (ring->status_was_reset && fresh)))
		viodma_record_forget(ring);
	ring->status_was_reset = ring->record.given = false;
	result = viodma_queue_start(&ring->queue, setup, &dropped);
	*why = "the ring cannot be started";
	if (result == VIODMA_OK && dropped)
		viodma_backend_log_some(ring->backend, "ring %u: %u requests held from before were dropped", ring->index,
				   dropped);
	return result;
}

enum viodma_result viodma_vring_try_start(struct viodma_vring *ring, const char **why)
{
	struct viodma_vhost_user *backend = ring->backend;
	const struct viodma_negotiation negotiation = {
		.offered = backend->offered,
		.accepted = backend->accepted,
		.policy = backend->options.platform_dma,
		.platform_dma_bit = backend->options.platform_dma_bit,
	};
	struct viodma_queue_setup setup = setup_of(ring);
	enum viodma_result result;

	*why = "";
	if (ring->queue.running || !ring->size_set || !ring->address_set || !ring->base_set ||
	    (ring->kick_fd < 0 && !ring->polled && !ring->kicked_inband) || !backend->connection.features_set)
		return VIODMA_OK;
	result = viodma_feature_negotiate_device(&negotiation, &backend->addressing);
	if (result != VIODMA_OK) {
		*why = "no ring is touched";
		return result;
	}
	if (backend->addressing == VIODMA_ADDRESSING_PHYSICAL && !backend->space.region_count)
		return VIODMA_OK; /* its memory is still to come */
	result = locate(ring, &setup);
	if (result != VIODMA_OK) {
		*why = "the ring is not in the memory table";
		return result;
	}
	if (!viodma_vring_any_running(backend)) {
		if (backend->addressing == VIODMA_ADDRESSING_PLATFORM)
			viodma_spaces_set_iotlb(backend);
		else
			viodma_spaces_set_physical(backend);
		viodma_reachable_changed(backend);
	}
	result = start_queue(ring, &setup, why);
	if (result != VIODMA_OK)
		return result;
	ring->broken_told = false;
	ring->kicked = true;
	viodma_session_begin(ring);
	viodma_backend_log_ring(backend,
			   "ring %u started: %s, size %u, bit 33 %s, %s, desc 0x%llx avail 0x%llx used 0x%llx, base 0x%x",
			   ring->index, setup.packed ? "packed" : "split", setup.size,
			   backend->addressing == VIODMA_ADDRESSING_PLATFORM ? "accepted" : "clear",
			   backend->addressing == VIODMA_ADDRESSING_PLATFORM ? "IOTLB" : "physical addresses",
			   (unsigned long long)setup.desc.v, (unsigned long long)setup.avail.v,
			   (unsigned long long)setup.used.v, setup.base);
	if (backend->options.ring)
		backend->options.ring(backend->options.context, ring->index, &ring->queue.setup, true);
	viodma_vring_polling(ring);
	viodma_worker_schedule(ring->worker);
	return VIODMA_OK;
}

void viodma_vring_stop(struct viodma_vring *ring)
{
	struct viodma_vhost_user *backend = ring->backend;
	const struct viodma_queue_setup setup = ring->queue.setup;
	const uint64_t pushed = ring->queue.statistics.pushed;
	uint32_t base = ring->base;

	viodma_vring_drop_kick(ring);
	if (!ring->queue.running || viodma_queue_stop(&ring->queue, &base) != VIODMA_OK)
		return;
	if (ring->queue.statistics.pushed != pushed)
		viodma_vring_call(ring); /* stopping delivered something; the ring is not asked any more */
	ring->base = ring->stopped_base = base;
	ring->base_set = ring->was_stopped = true;
	viodma_backend_log_ring(backend, "ring %u stopped: base 0x%x, %llu requests", ring->index, base,
			   (unsigned long long)(ring->queue.statistics.pushed - ring->session_pushed));
	viodma_session_end(ring);
	if (backend->options.ring)
		backend->options.ring(backend->options.context, ring->index, &setup, false);
	if (!viodma_vring_any_running(backend)) {
		/* Mappings are not kept where no withdrawal may reach them. */
		viodma_channel_clear_iotlb(backend);
		viodma_spaces_set_closed(backend);
	}
}

void viodma_vring_forget_setup(struct viodma_vring *ring)
{
	viodma_vring_stop(ring);
	ring->size_set = ring->address_set = ring->base_set = ring->enabled = false;
	ring->status_was_reset = true;
}

void viodma_vring_reset(struct viodma_vring *ring, bool keep_notifiers)
{
	viodma_vring_forget_setup(ring);
	viodma_queue_reset(&ring->queue);
	ring->status_was_reset = ring->was_stopped = ring->call_polled = false;
	ring->base = 0;
	ring->broken_told = ring->call_owed = false;
	if (!keep_notifiers) {
		viodma_descriptor_close(&ring->call_fd);
		viodma_descriptor_close(&ring->err_fd);
	}
}

enum viodma_result viodma_vring_relocate(struct viodma_vring *ring, const char **why)
{
	const struct viodma_queue_setup *now = &ring->queue.setup;
	struct viodma_queue_setup setup = setup_of(ring);
	uint64_t pushed;
	enum viodma_result result;

	if (!ring->queue.running)
		return viodma_vring_try_start(ring, why);
	result = locate(ring, &setup);
	if (result != VIODMA_OK) {
		*why = "a running ring is not in it";
		return result;
	}
	if (setup.desc.v == now->desc.v && setup.avail.v == now->avail.v && setup.used.v == now->used.v)
		return VIODMA_OK;
	viodma_vring_signal(ring); /* what was pushed is not known as such once it has stopped */
	pushed = ring->queue.statistics.pushed;
	result = viodma_queue_stop(&ring->queue, &setup.base);
	ring->stopped_base = setup.base;
	if (ring->queue.statistics.pushed != pushed)
		viodma_vring_call(ring);
	return result == VIODMA_OK ? start_queue(ring, &setup, why) : result;
}

/* ---- turns ---- */

static void tell_if_broken(struct viodma_vring *ring)
{
	const enum viodma_result broken = ring->queue.broken;

	if (broken == VIODMA_OK || ring->broken_told)
		return;
	ring->broken_told = true;
	viodma_backend_log_some(ring->backend, "ring %u broken: %s %s; it needs a reset", ring->index,
			   viodma_result_requirement(broken), viodma_result_text(broken));
	viodma_vring_error(ring);
}

static bool works(const struct viodma_vring *ring)
{
	const struct viodma_vhost_user *backend = ring->backend;

	return ring->queue.running && ring->queue.broken == VIODMA_OK &&
	       (ring->enabled || !accepted(backend, VHOST_USER_F_PROTOCOL_FEATURES_BIT));
}

/* = DEV-17: one queue-full at most */
static void process(struct viodma_vring *ring)
{
	ring->more = ring->backend->ops.process(ring->worker->device, &ring->queue) == VIODMA_OK;
}

/*
 * Look at it again in the next turn? Else it is to ask for the next kick, and is looked at once more. A time that was given
 * counts from whatever it did. By itself it looks after it gave something back, since that is what a driver reacts to, and it
 * pays if something new comes: while a disk works on requests, there is no telling when the driver has another.
 */
static void stay_busy(struct viodma_vring *ring, bool fetched, bool gave_back)
{
	const bool given = ring->backend->options.poll_us != VIODMA_POLL_AUTO;
	const uint64_t now_ns = viodma_loop_now_ns();

	if (fetched || (given && gave_back))
		viodma_poller_work(&ring->poller, now_ns);
	if (gave_back || (given && fetched))
		viodma_poller_idle(&ring->poller, now_ns);
	ring->busy = viodma_poller_again(&ring->poller, now_ns);
}

/* True: there is more for another turn. */
static bool work(struct viodma_vring *ring)
{
	const struct viodma_queue_statistics *done = &ring->queue.statistics;
	const bool polls = ring->backend->options.poll_us != 0;
	bool polled;

	if (!ring->kicked && !ring->more && !ring->busy && !viodma_queue_has_work(&ring->queue) &&
	    !(polls && done->pushed != ring->pushed))
		return false;
	if (ring->kicked)
		viodma_queue_kicked(&ring->queue);
	ring->kicked = false;
	polled = polls && viodma_poller_looks(&ring->poller);
	viodma_queue_set_polled(&ring->queue, polled);
	process(ring);
	/* Going round the loop costs more than a look does. */
	for (unsigned look = 1; polled && look < LOOKS_PER_TURN && !ring->more && done->fetched == ring->fetched; look++)
		process(ring);
	if (!polls)
		return ring->more;
	stay_busy(ring, done->fetched != ring->fetched, done->pushed != ring->pushed);
	ring->fetched = done->fetched;
	ring->pushed = done->pushed;
	if (polled && !ring->busy && !ring->more) {
		viodma_queue_set_polled(&ring->queue, false);
		process(ring);
	}
	return ring->more || ring->busy || done->fetched != ring->fetched;
}

/* All of a worker's rings. True: there is more for another turn. */
static bool work_on_all(struct viodma_worker *worker)
{
	struct viodma_vhost_user *backend = worker->backend;
	const unsigned count = backend->options.queue_count, step = backend->worker_count;
	bool again = false, all_tried = true;
	uint64_t epoch;

	if (worker->copy_room)
		viodma_space_changed(worker->space);
	worker->copy_room = false;
	epoch = worker->space->epoch;

	for (unsigned i = worker->index; i < count; i += step) {
		struct viodma_vring *ring = &backend->rings[i];

		if (!works(ring))
			continue;
		if (viodma_revocation_allows(backend, ring))
			again |= work(ring);
		else
			all_tried = false;
	}
	if (!again && all_tried)
		viodma_worker_settle(worker);
	/* What there was no room for may go on now. A ring that may not work gets a turn when it may. */
	for (unsigned i = worker->index; all_tried && worker->space->epoch != epoch && i < count; i += step)
		again |= works(&backend->rings[i]) && viodma_queue_has_work(&backend->rings[i].queue);
	for (unsigned i = worker->index; i < count; i += step) {
		viodma_vring_signal(&backend->rings[i]);
		tell_if_broken(&backend->rings[i]);
	}
	return again;
}

void viodma_worker_turn(void *context)
{
	struct viodma_worker *worker = context;
	struct viodma_vhost_user *backend = worker->backend;
	const bool again = work_on_all(worker);

	if (viodma_workers_several(backend)) {
		worker->news |= backend->revocation.kind != VIODMA_REVOKE_NOTHING || atomic_load(&backend->memory_gone);
		viodma_worker_tell(worker);
	} else {
		viodma_backend_turn(backend);
	}
	if (again)
		viodma_worker_schedule(worker);
}

void viodma_backend_turn(void *context)
{
	struct viodma_vhost_user *backend = context;

	viodma_workers_hold(backend);
	viodma_notify_for_workers(backend);
	viodma_workers_answer(backend);
	viodma_channel_flush(backend);
	if (backend->connection.fd >= 0 && atomic_load(&backend->memory_gone)) {
		viodma_connection_log(backend, "memory: %s %s", viodma_result_requirement(VIODMA_PEER_MEMORY_GONE),
				   viodma_result_text(VIODMA_PEER_MEMORY_GONE));
		viodma_connection_end(backend, "its memory is gone");
	}
	if (backend->channel.overflow)
		viodma_connection_end(backend, "%u questions were left unanswered (PLT-11)", backend->channel.capacity);
	viodma_revocation_advance(backend);
	viodma_connection_catch_up(backend);
	viodma_workers_release(backend);
}
