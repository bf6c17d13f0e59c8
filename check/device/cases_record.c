/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cases_record.c - the record of what is in flight (PLT-12, DEV-18): the device is gone before it has answered, another one
 * comes, is given the record, and does what was left, once.
 */
#include "check/device/cases.h"

static const struct check_setup recorded = {.record = true};

#define NEEDS (CHECK_NEEDS_RING | CHECK_NEEDS_INFLIGHT)

static bool make(struct check_session *session, struct check_request *request)
{
	return check_request_make(session, request, CHECK_FROM_DEVICE, session->type->step_bytes) &&
	       check_request_grant(session, request);
}

/* The first one waits for a miss, the second one is done; then the connection ends. */
static enum check_verdict is_resumed(struct check_session *session)
{
	struct check_request requests[2];

	if (!check_session_start(session, &recorded) || !check_device_works(session) || !make(session, &requests[0]) ||
	    !make(session, &requests[1]) || !check_request_tell(session, &requests[1]))
		return check_trouble(session);
	session->manner = CHECK_HELD;
	if (!check_request_add(session, &requests[0]) || !check_request_submit(session, &requests[1]))
		return check_trouble(session);
	if (!check_request_wait(session, &requests[1], requests, 1, session->options->timeout_ms / 4)) {
		if (session->peer.state != CHECK_ANSWERED)
			return check_trouble(session);
		return check_not_exercised(session, "it does not serve one request while another one waits");
	}
	if (requests[0].done)
		return check_failed(session, "a request was used whose miss was not answered");
	session->manner = CHECK_TRUE;
	if (!check_session_resume(session, &recorded) ||
	    !check_request_wait(session, &requests[0], NULL, 0, session->options->timeout_ms) ||
	    !session->type->right(session, &requests[0]) || !check_device_works(session))
		return check_trouble(session);
	return check_ring_has_used(&session->rings[0]) ? check_failed(session, "after the record was resumed something is used twice")
						       : check_passed(session);
}

/* As it is, and then one that is larger than its file. It may end the connection over it. */
static enum check_verdict too_large(struct check_session *session)
{
	uint64_t word = 0;

	if (!check_session_features(session, &recorded) || !check_session_memory(session) || !check_session_record(session))
		return check_trouble(session);
	session->record.mmap_size += 1u << 30;
	if (check_peer_ask(&session->peer, VHOST_USER_SET_INFLIGHT_FD, &session->record, sizeof(session->record), &session->record_fd,
			   1, &word) != CHECK_ANSWERED)
		return session->peer.state == CHECK_GONE ? check_passed(session) : check_trouble(session);
	if (!word)
		return check_failed(session, "a record of %llu bytes, more than its file holds, is acknowledged as taken",
				    (unsigned long long)session->record.mmap_size);
	return check_passed(session);
}

const struct check_case check_cases_record[] = {
	{"record-resumed", "DEV-18", "does what was in flight when its connection ended, once",
	 NEEDS | CHECK_NEEDS_PLATFORM | CHECK_NEEDS_FROM_DEVICE, is_resumed},
	{"record-too-large", "PLT-12", "refuses a record that is larger than its file", NEEDS | CHECK_NEEDS_REPLY_ACK, too_large},
	{0},
};
