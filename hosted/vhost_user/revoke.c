/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * revoke.c - how it works: some messages take back what requests in flight may be using. Each becomes a pending
 * revocation, is tried again whenever requests complete, and is answered once nothing is in its way (DEV-13, DEV-14):
 *
 *	INVALIDATE      until no request pins that range; other requests go on
 *	SET_MEM_TABLE   until no request is with the device; then the tables are exchanged, and rings go on
 *	REM_MEM_REG     until no request pins that region; other requests go on
 *	GET_VRING_BASE  until none of that ring's is with the device; then what cannot be given back is failed
 *	SET_STATUS 0    until no request is with the device; then rings stop and their set-up is forgotten, but not how
 *	                far they got: a front end that pauses its VM resets the status first, and asks after
 *	RESET_DEVICE    likewise; then all of the device begins anew, but for the features
 *	disconnection   until no request is with the device; then everything is forgotten, memory is unmapped, and the
 *	                next front end let in
 *
 * There is one at a time: while it is pending, no message of that connection is read and nothing is asked of the front
 * end, because it may be waiting for our answer and serve nobody meanwhile. The loop never blocks; other back ends go
 * on. Memory that an unfinished disk operation uses stays mapped however long it takes.
 *
 * After revoke_timeout_ms the revocation is answered with an error and the connection ends, which is all a device can
 * do that cannot get its memory back: the acknowledgement is never given early. The end of a connection has no limit.
 */
#include "hosted/vhost_user/messages.h"

#include "core/base/require.h"

#include <stdlib.h>

static void drop_staged(struct viodma_revocation *revocation)
{
	while (revocation->staged_count)
		viodma_memory_unmap(&revocation->staged[--revocation->staged_count]);
}

void viodma_revocation_begin(struct viodma_vhost_user *backend, enum viodma_revocation_kind kind,
			     const struct viodma_message *message)
{
	struct viodma_revocation *revocation = &backend->revocation;

	if (kind == VIODMA_REVOKE_CONNECTION)
		drop_staged(revocation); /* whatever was pending has nobody left to be answered */
	revocation->kind = kind;
	revocation->request = message ? message->header.request : 0;
	revocation->ack = message && viodma_message_wants_ack(backend, &message->header);
	viodma_space_hold_misses(&backend->space, true);
	viodma_loop_arm(revocation->timer,
			kind == VIODMA_REVOKE_CONNECTION
				? UINT64_MAX
				: viodma_loop_now_ns() + (uint64_t)backend->options.revoke_timeout_ms * 1000000u);
}

bool viodma_revocation_allows(const struct viodma_vhost_user *backend, const struct viodma_vring *ring)
{
	switch (backend->revocation.kind) {
	case VIODMA_REVOKE_NOTHING:
	case VIODMA_REVOKE_MAPPING:
	case VIODMA_REVOKE_REGION:
		return true;
	case VIODMA_REVOKE_RING:
		return ring->index != backend->revocation.ring;
	default:
		return false;
	}
}

static void complete(struct viodma_vhost_user *backend, bool ok)
{
	struct viodma_revocation *revocation = &backend->revocation;
	const uint64_t word = ok ? 0 : 1;

	revocation->kind = VIODMA_REVOKE_NOTHING;
	viodma_loop_arm(revocation->timer, UINT64_MAX);
	viodma_space_hold_misses(&backend->space, false);
	if (revocation->ack)
		viodma_connection_reply(backend, revocation->request, &word, sizeof(word));
	revocation->ack = false;
	viodma_connection_update(backend);
	viodma_backend_schedule(backend);
	viodma_workers_schedule(backend);
}

/* Answer with an error; nothing can go on from here. */
static void fail(struct viodma_vhost_user *backend, enum viodma_result result, const char *why)
{
	const uint32_t request = backend->revocation.request;

	(void)viodma_connection_refuse(backend, request, result, "%s", why);
	complete(backend, false);
	viodma_connection_end(backend, "after %s was refused", viodma_message_name(request));
}

static void exchange_tables(struct viodma_vhost_user *backend)
{
	struct viodma_revocation *revocation = &backend->revocation;
	const unsigned count = revocation->staged_count;
	enum viodma_result result;
	const char *why = "its regions do not fit together";

	viodma_channel_clear_iotlb(backend);
	viodma_memory_drop_all(backend);
	revocation->staged_count = 0;
	result = viodma_memory_add_all(backend, revocation->staged, count);
	for (unsigned i = 0; result == VIODMA_OK && i < backend->options.queue_count; i++)
		result = viodma_vring_relocate(&backend->rings[i], &why);
	if (result != VIODMA_OK) {
		fail(backend, result, why);
		return;
	}
	viodma_memory_log(backend);
	complete(backend, true);
}

/* Nothing of the ring is with the device: what cannot be given back is failed. */
static void quiesce(struct viodma_vhost_user *backend, struct viodma_vring *ring)
{
	/* With a record, what is parked stays in it, and goes on where the ring goes on. */
	if (ring->queue.running && backend->ops.fail_held && !ring->queue.config.record)
		backend->ops.fail_held(ring->worker->device, &ring->queue); /* = DEV-18 */
	viodma_vring_signal(ring);
	viodma_vring_stop(ring);
}

static void stop_ring(struct viodma_vhost_user *backend)
{
	struct viodma_vring *ring = &backend->rings[backend->revocation.ring];
	struct vhost_user_vring_state state = {ring->index, 0};

	quiesce(backend, ring);
	state.num = ring->base;
	viodma_connection_reply(backend, backend->revocation.request, &state, sizeof(state));
	complete(backend, true);
}

static void reset(struct viodma_vhost_user *backend)
{
	for (unsigned i = 0; i < backend->options.queue_count; i++) {
		quiesce(backend, &backend->rings[i]);
		viodma_vring_forget_setup(&backend->rings[i]);
	}
	backend->status = 0;
	if (backend->ops.reset)
		backend->ops.reset(backend->device);
	complete(backend, true);
}

static void reset_device(struct viodma_vhost_user *backend)
{
	for (unsigned i = 0; i < backend->options.queue_count; i++) {
		viodma_vring_signal(&backend->rings[i]);
		viodma_vring_stop(&backend->rings[i]);
		viodma_record_forget(&backend->rings[i]);
		viodma_vring_reset(&backend->rings[i], true);
	}
	backend->status = 0;
	if (backend->ops.reset)
		backend->ops.reset(backend->device);
	complete(backend, true);
}

static void disconnected(struct viodma_vhost_user *backend)
{
	for (unsigned i = 0; i < backend->options.queue_count; i++)
		viodma_vring_reset(&backend->rings[i], true);
	viodma_inflight_drop(backend);
	viodma_channel_clear_iotlb(backend);
	viodma_spaces_set_closed(backend);
	viodma_memory_drop_all(backend);
	for (unsigned i = 0; i < backend->options.queue_count; i++)
		viodma_vring_reset(&backend->rings[i], false);
	atomic_store(&backend->memory_gone, 0);
	viodma_reachable_changed(backend);
	backend->status = 0;
	complete(backend, true);
	viodma_backend_listen_again(backend);
}

static void remove_region(struct viodma_vhost_user *backend)
{
	struct viodma_region region;
	enum viodma_result result = viodma_spaces_remove_region(backend, backend->revocation.phys, &region);

	if (result == VIODMA_E_BUSY)
		return; /* = DEV-13 */
	if (result == VIODMA_OK) {
		backend->region_bytes -= region.len_bytes;
		viodma_memory_unmap(&region);
		viodma_reachable_changed(backend);
		viodma_memory_log(backend);
	}
	complete(backend, result == VIODMA_OK);
}

void viodma_revocation_advance(struct viodma_vhost_user *backend)
{
	const struct viodma_revocation *revocation = &backend->revocation;
	const uint32_t submitted = viodma_vring_submitted(backend);
	bool in_use;

	switch (revocation->kind) {
	case VIODMA_REVOKE_NOTHING:
		break;
	case VIODMA_REVOKE_MAPPING:
		in_use = viodma_spaces_in_use(backend, revocation->first, revocation->last);
		if (VIODMA_REQUIRE(DEV_13, !in_use)) {
			viodma_reachable_changed(backend);
			complete(backend, true);
		}
		break;
	case VIODMA_REVOKE_TABLE:
		if (VIODMA_REQUIRE(DEV_13, !submitted))
			exchange_tables(backend);
		break;
	case VIODMA_REVOKE_REGION:
		remove_region(backend);
		break;
	case VIODMA_REVOKE_RING:
		if (VIODMA_REQUIRE(DEV_14, !backend->rings[revocation->ring].queue.submitted))
			stop_ring(backend);
		break;
	case VIODMA_REVOKE_RESET:
		if (VIODMA_REQUIRE(DEV_14, !submitted))
			reset(backend);
		break;
	case VIODMA_REVOKE_DEVICE:
		if (VIODMA_REQUIRE(DEV_14, !submitted))
			reset_device(backend);
		break;
	case VIODMA_REVOKE_CONNECTION:
		if (!submitted)
			disconnected(backend);
		break;
	}
}

static void expired(struct viodma_vhost_user *backend)
{
	const struct viodma_revocation *revocation = &backend->revocation;
	const uint32_t request = revocation->request;

	if (revocation->kind == VIODMA_REVOKE_NOTHING || revocation->kind == VIODMA_REVOKE_CONNECTION)
		return;
	viodma_connection_log(backend,
			   "%s failed: DEV-13 requests in flight (%u) use the memory after %u ms; the device stops",
			   viodma_message_name(request), viodma_vring_submitted(backend),
			   backend->options.revoke_timeout_ms);
	complete(backend, false);
	viodma_connection_end(backend, "a revocation took longer than %u ms", backend->options.revoke_timeout_ms);
}

void viodma_revocation_expired(void *context)
{
	struct viodma_vhost_user *backend = context;

	viodma_workers_hold(backend);
	expired(backend);
	viodma_workers_release(backend);
}
