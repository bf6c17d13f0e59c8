/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * statistics.c - how it works: the space, the IOTLB and the queues count; this file remembers what the counters were
 * when a ring started, so that a session (one driver's use of a ring) is a difference. Faults are kept (the last 16),
 * counted, and logged, at most 8 in a second; how many were left out is logged with the next that is not.
 */
#include "hosted/vhost_user/messages.h"

#include <stdio.h>
#include <string.h>

/* ---- sessions ---- */

static struct viodma_space_statistics space_since(const struct viodma_space_statistics *now,
						  const struct viodma_space_statistics *then)
{
	return (struct viodma_space_statistics){
		.translations = now->translations - then->translations,
		.identity_translations = now->identity_translations - then->identity_translations,
		.look_ups = now->look_ups - then->look_ups,
		.faults = now->faults - then->faults,
	};
}

static struct viodma_iotlb_statistics iotlb_since(const struct viodma_iotlb_statistics *now,
						  const struct viodma_iotlb_statistics *then)
{
	return (struct viodma_iotlb_statistics){
		.hits = now->hits - then->hits,
		.misses = now->misses - then->misses,
		.answered = now->answered - then->answered,
		.failed = now->failed - then->failed,
		.dropped = now->dropped - then->dropped,
		.updates = now->updates - then->updates,
		.invalidations = now->invalidations - then->invalidations,
		.evictions = now->evictions - then->evictions,
		.reachable_bytes = now->reachable_bytes,
	};
}

static uint64_t reachable(const struct viodma_vhost_user *backend)
{
	switch (backend->space.kind) {
	case VIODMA_SPACE_PHYSICAL:
		return backend->region_bytes;
	case VIODMA_SPACE_IOTLB:
		return backend->iotlb.statistics.reachable_bytes;
	default:
		return 0;
	}
}

void viodma_reachable_changed(struct viodma_vhost_user *backend)
{
	const uint64_t now = reachable(backend);

	if (now > backend->reachable_peak)
		backend->reachable_peak = now;
	for (unsigned i = 0; i < backend->options.queue_count; i++)
		if (now > backend->rings[i].session_peak)
			backend->rings[i].session_peak = now;
}

void viodma_session_begin(struct viodma_vring *ring)
{
	struct viodma_vhost_user *backend = ring->backend;

	ring->session_pushed = ring->queue.statistics.pushed;
	ring->session_faults = backend->fault_count;
	ring->session_space = viodma_spaces_statistics(backend);
	ring->session_iotlb = viodma_spaces_iotlb_statistics(backend);
	ring->session_peak = reachable(backend);
}

static void session_of(const struct viodma_vring *ring, struct viodma_vhost_user_session *session)
{
	const struct viodma_vhost_user *backend = ring->backend;
	const bool platform = backend->addressing == VIODMA_ADDRESSING_PLATFORM;
	const struct viodma_space_statistics space = viodma_spaces_statistics(backend);
	const struct viodma_iotlb_statistics iotlb = viodma_spaces_iotlb_statistics(backend);

	*session = (struct viodma_vhost_user_session){
		.bit33 = platform,
		.iotlb_active = platform,
		.setup = ring->queue.setup,
		.requests = ring->queue.statistics.pushed - ring->session_pushed,
		.faults = backend->fault_count - ring->session_faults,
		.reachable_bytes_peak = ring->session_peak,
		.space = space_since(&space, &ring->session_space),
		.iotlb = iotlb_since(&iotlb, &ring->session_iotlb),
	};
	session->iotlb.reachable_bytes_peak = platform ? ring->session_peak : 0;
}

/* Append to a list of the newest VIODMA_VHOST_USER_SESSIONS. */
static void append(struct viodma_vhost_user_session *sessions, uint32_t *kept,
		   const struct viodma_vhost_user_session *session)
{
	if (*kept == VIODMA_VHOST_USER_SESSIONS) {
		memmove(sessions, sessions + 1, (VIODMA_VHOST_USER_SESSIONS - 1) * sizeof(*sessions));
		--*kept;
	}
	sessions[(*kept)++] = *session;
}

void viodma_session_end(struct viodma_vring *ring)
{
	struct viodma_vhost_user *backend = ring->backend;
	struct viodma_vhost_user_session session;

	session_of(ring, &session);
	append(backend->sessions, &backend->sessions_kept, &session);
	backend->session_count++;
}

/* ---- faults ---- */

void viodma_faults_unlogged(struct viodma_vhost_user *backend)
{
	if (backend->faults_unlogged)
		viodma_backend_log(backend, "fault: %llu more were not logged",
				   (unsigned long long)backend->faults_unlogged);
	backend->faults_unlogged = 0;
}

static const char *attempt(enum viodma_permission permission)
{
	return permission == VIODMA_READ ? "read" : permission == VIODMA_WRITE ? "write" : "access";
}

static void log_fault(struct viodma_vhost_user *backend, const struct viodma_fault *fault)
{
	char by[32] = "the device";
	const uint64_t now = viodma_loop_now_ns();

	if (now - backend->fault_window_ns >= 1000000000u) {
		viodma_faults_unlogged(backend);
		backend->fault_window_ns = now;
		backend->faults_logged = 0;
	}
	if (backend->faults_logged == VIODMA_BACKEND_FAULTS_PER_SECOND) {
		backend->faults_unlogged++;
		return;
	}
	backend->faults_logged++;
	if (fault->queue != VIODMA_QUEUE_NONE)
		snprintf(by, sizeof(by), "queue %u", fault->queue);
	viodma_backend_log(backend, "fault: %s of 0x%llx (%llu bytes) by %s refused: %s %s", attempt(fault->permission),
			   (unsigned long long)fault->bus.v, (unsigned long long)fault->len_bytes, by,
			   viodma_result_requirement(fault->reason), viodma_result_text(fault->reason));
}

void viodma_fault_note(void *context, const struct viodma_fault *fault)
{
	struct viodma_vhost_user *backend = context;

	pthread_mutex_lock(&backend->shared);
	if (backend->faults_kept == VIODMA_VHOST_USER_FAULTS) {
		memmove(backend->faults, backend->faults + 1, sizeof(backend->faults) - sizeof(backend->faults[0]));
		backend->faults_kept--;
	}
	backend->faults[backend->faults_kept++] = *fault;
	backend->fault_count++;
	log_fault(backend, fault);
	pthread_mutex_unlock(&backend->shared);
	if (backend->options.events && backend->options.events->fault)
		backend->options.events->fault(backend->options.events->context, fault);
}

/* ---- all of it ---- */

void viodma_vhost_user_statistics(struct viodma_vhost_user *backend,
				  struct viodma_vhost_user_statistics *statistics)
{
	viodma_workers_hold(backend);
	*statistics = (struct viodma_vhost_user_statistics){
		.connected = backend->connection.fd >= 0,
		.iotlb_active = backend->space.kind == VIODMA_SPACE_IOTLB,
		.offered = backend->offered,
		.accepted = backend->accepted,
		.region_bytes = backend->region_bytes,
		.reachable_bytes = reachable(backend),
		.reachable_bytes_peak = backend->reachable_peak,
		.iotlb_entries = backend->iotlb.entry_count,
		.iotlb_capacity = backend->options.iotlb_entries,
		.misses_outstanding = backend->iotlb.outstanding,
		.space = viodma_spaces_statistics(backend),
		.iotlb = viodma_spaces_iotlb_statistics(backend),
		.connections = backend->connections,
		.fault_count = backend->fault_count,
		.faults_kept = backend->faults_kept,
		.session_count = backend->session_count,
		.sessions_kept = backend->sessions_kept,
	};
	memcpy(statistics->faults, backend->faults, sizeof(statistics->faults));
	memcpy(statistics->sessions, backend->sessions, sizeof(statistics->sessions));
	for (unsigned i = 0; i < backend->options.queue_count; i++) {
		struct viodma_vhost_user_session session;

		if (!backend->rings[i].queue.running)
			continue;
		session_of(&backend->rings[i], &session);
		append(statistics->sessions, &statistics->sessions_kept, &session);
		statistics->session_count++;
	}
	viodma_workers_release(backend);
}
