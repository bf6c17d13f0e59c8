/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iommu.c - how it works: grants in a list. A miss is answered with the grant that covers it, whole, if it permits what was
 * asked; else refused. Every question is kept, for cases that ask what the device asked for.
 */
#include "check/device/session.h"

#include <viodma/loop.h>

#include <string.h>

static const struct check_grant *grant_at(const struct check_session *session, uint64_t bus)
{
	for (uint32_t i = 0; i < session->grant_count; i++)
		if (bus - session->grants[i].bus < session->grants[i].bytes)
			return &session->grants[i];
	return NULL;
}

bool check_grant_at(struct check_session *session, uint64_t bus, uint64_t user, uint64_t bytes, unsigned permission)
{
	if (!session->platform)
		return true;
	if (session->grant_count == CHECK_GRANTS_MAX)
		return check_wrong(session, "more than %u mappings in a case", CHECK_GRANTS_MAX);
	session->grants[session->grant_count++] = (struct check_grant){bus, user, bytes, permission};
	if (session->peer.channel_fd < 0) { /* it cannot ask */
		bool refused;

		return check_update(session, bus, user, bytes, permission, &refused) &&
		       (!refused || check_wrong(session, "the device refuses the mapping of 0x%llx", (unsigned long long)bus));
	}
	return true;
}

/* Whole pages, as an IOMMU has them. */
bool check_grant(struct check_session *session, const struct check_place *place, unsigned permission)
{
	const uint64_t before = place->bus % CHECK_PAGE;
	const uint64_t bytes = (before + place->bytes + CHECK_PAGE - 1) / CHECK_PAGE * CHECK_PAGE;

	if (!place->spread)
		return check_grant_at(session, place->bus - before, place->user - before, bytes, permission);
	for (uint64_t at = 0; at < bytes; at += CHECK_PAGE) {
		uint64_t phys, user;

		check_memory_page(place, at > before ? at - before : 0, &phys, &user);
		if (!check_grant_at(session, place->bus - before + at, user, CHECK_PAGE, permission))
			return false;
	}
	return true;
}

static bool message(struct check_session *session, const struct vhost_user_iotlb *iotlb, bool *refused)
{
	uint64_t word = 0;

	*refused = false;
	if (!check_session_has(session, VHOST_USER_PROTOCOL_F_REPLY_ACK_BIT))
		return check_peer_send(&session->peer, VHOST_USER_IOTLB_MSG, 0, iotlb, sizeof(*iotlb), NULL, 0) &&
		       check_peer_get(&session->peer, VHOST_USER_GET_FEATURES, &word) == CHECK_ANSWERED;
	if (check_peer_ask(&session->peer, VHOST_USER_IOTLB_MSG, iotlb, sizeof(*iotlb), NULL, 0, &word) != CHECK_ANSWERED)
		return false;
	*refused = word != 0;
	return true;
}

bool check_update(struct check_session *session, uint64_t bus, uint64_t user, uint64_t bytes, unsigned permission,
		  bool *refused)
{
	const struct vhost_user_iotlb iotlb = {bus, bytes, user, (uint8_t)permission, VHOST_USER_IOTLB_UPDATE, {0}};

	return message(session, &iotlb, refused);
}

void check_forget(struct check_session *session, uint64_t bus, uint64_t bytes)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < session->grant_count; i++)
		if (session->grants[i].bus - bus >= bytes)
			session->grants[kept++] = session->grants[i];
	session->grant_count = kept;
}

bool check_withdraw(struct check_session *session, uint64_t bus, uint64_t bytes, bool *refused)
{
	const struct vhost_user_iotlb iotlb = {bus, bytes, 0, 0, VHOST_USER_IOTLB_INVALIDATE, {0}};

	check_forget(session, bus, bytes);
	return message(session, &iotlb, refused);
}

/* ---- questions ---- */

static bool send_update(struct check_session *session, const struct check_grant *grant)
{
	const struct vhost_user_iotlb iotlb = {grant->bus, grant->bytes, grant->user, (uint8_t)grant->permission,
					       VHOST_USER_IOTLB_UPDATE, {0}};

	return check_peer_send(&session->peer, VHOST_USER_IOTLB_MSG, 0, &iotlb, sizeof(iotlb), NULL, 0);
}

/* The half of an answer that grants it. False: the connection is broken. */
static bool update(struct check_session *session, struct check_miss *miss)
{
	const struct check_grant *grant = grant_at(session, miss->bus);

	miss->granted = grant && (grant->permission & miss->permission) == miss->permission;
	return !miss->granted || send_update(session, grant);
}

bool check_miss_update(struct check_session *session, uint32_t n)
{
	return n >= CHECK_MISSES_MAX || update(session, &session->misses[n]);
}

static bool answer(struct check_session *session, struct check_miss *miss, bool refuse)
{
	miss->answered = true;
	if (!refuse && !miss->granted && !update(session, miss))
		return false;
	if (!miss->granted)
		check_event(session, CHECK_US, miss->bus, 0, "the miss is refused");
	check_peer_reply(&session->peer, &miss->header, miss->granted ? 0 : 1);
	return session->peer.state == CHECK_ANSWERED;
}

bool check_miss_answer(struct check_session *session, uint32_t n)
{
	return n >= session->miss_count || n >= CHECK_MISSES_MAX || session->misses[n].answered ||
	       answer(session, &session->misses[n], false);
}

void check_iommu_asked(struct check_session *session, const struct vhost_user_header *header, const void *payload)
{
	const struct vhost_user_iotlb *iotlb = payload;
	struct check_miss miss = {.header = *header};

	if (header->request != VHOST_USER_BACKEND_IOTLB_MSG || header->size < sizeof(*iotlb) ||
	    iotlb->type != VHOST_USER_IOTLB_MISS) {
		check_event(session, CHECK_PEER, 0, 0, "on its channel: request %u, %u bytes", header->request, header->size);
		check_peer_reply(&session->peer, header, 0);
		return;
	}
	miss.bus = iotlb->iova;
	miss.permission = iotlb->permissions;
	check_event(session, CHECK_PEER, miss.bus, 0, "misses, to %s",
		    miss.permission == CHECK_READ ? "read" : miss.permission == CHECK_WRITE ? "write" : "read and write");
	if (session->manner != CHECK_HELD) {
		/* Replies name no question: they go in the order of these. */
		for (uint32_t n = 0; n < session->miss_count && n < CHECK_MISSES_MAX; n++)
			if (!session->misses[n].answered)
				(void)answer(session, &session->misses[n], session->manner == CHECK_REFUSED);
		(void)answer(session, &miss, session->manner == CHECK_REFUSED);
	}
	if (session->miss_count < CHECK_MISSES_MAX)
		session->misses[session->miss_count] = miss;
	session->miss_count++;
}

const struct check_miss *check_miss_about(const struct check_session *session, uint32_t from, uint64_t bus, uint64_t bytes,
					  unsigned permission)
{
	const uint64_t first = bus / CHECK_PAGE, last = (bus + bytes - 1) / CHECK_PAGE;

	for (uint32_t i = from; i < session->miss_count && i < CHECK_MISSES_MAX; i++)
		if (session->misses[i].bus / CHECK_PAGE - first <= last - first &&
		    (session->misses[i].permission & permission) == permission)
			return &session->misses[i];
	return NULL;
}

const struct check_miss *check_miss_await(struct check_session *session, uint32_t from, uint64_t bus, uint64_t bytes,
					  unsigned permission)
{
	const uint64_t until_ns = viodma_loop_now_ns() + (uint64_t)session->options->timeout_ms * 1000000u;
	const struct check_miss *miss;

	while (!(miss = check_miss_about(session, from, bus, bytes, permission)) && viodma_loop_now_ns() < until_ns &&
	       session->peer.state == CHECK_ANSWERED)
		check_wait_ms(session, 1);
	return miss;
}
