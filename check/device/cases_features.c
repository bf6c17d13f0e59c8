/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cases_features.c - what is offered, what is accepted, and what follows from it for addresses (spec/platform-dma.md, sections
 * 3 and 4). What a device must refuse it may refuse by an acknowledgement, by FEATURES_OK, or by ending the connection.
 */
#include "check/device/cases.h"

#include <viodma/feature.h>

#define BIT(n) (UINT64_C(1) << (n))
#define PLATFORM BIT(VIRTIO_F_ACCESS_PLATFORM_BIT)
#define VERSION_1 BIT(VIRTIO_F_VERSION_1_BIT)

/* What is offered stays what it is, and bit 33 is of devices that are not legacy ones. */
static enum check_verdict is_offered(struct check_session *session)
{
	uint64_t again;

	if (check_peer_get(&session->peer, VHOST_USER_GET_FEATURES, &again) != CHECK_ANSWERED)
		return check_trouble(session);
	if (again != session->offered)
		return check_failed(session, "features 0x%llx are offered, and then 0x%llx", (unsigned long long)session->offered,
				    (unsigned long long)again);
	if ((session->offered & PLATFORM) && !(session->offered & VERSION_1))
		return check_failed(session, "bit 33 is offered without VERSION_1 (features 0x%llx)",
				    (unsigned long long)session->offered);
	if (session->offered & PLATFORM)
		return check_passed(session);
	return check_observed(session, "bit 33 is not offered: the device works only where it reaches memory by physical addresses");
}

static enum check_verdict refuses(struct check_session *session, uint64_t features, const char *what)
{
	bool refused;

	if (!check_session_set_features(session, features, &refused))
		return check_trouble(session);
	if (refused)
		return check_passed(session);
	if (!check_session_has(session, VHOST_USER_PROTOCOL_F_REPLY_ACK_BIT) &&
	    !check_session_has(session, VHOST_USER_PROTOCOL_F_STATUS_BIT))
		return check_failed(session, "%s, and the connection goes on (features 0x%llx)", what, (unsigned long long)features);
	return check_failed(session, "%s, and is told that it is well (features 0x%llx)", what, (unsigned long long)features);
}

static enum check_verdict not_offered(struct check_session *session)
{
	return refuses(session, (session->offered & ~PLATFORM) | PLATFORM, "a driver accepts bit 33, which is not offered");
}

static enum check_verdict without_version_1(struct check_session *session)
{
	return refuses(session, session->offered & ~(VERSION_1 | BIT(VIRTIO_F_RING_PACKED_BIT)),
		       "a driver accepts bit 33 without VERSION_1");
}

static enum check_verdict declined(struct check_session *session)
{
	const struct check_setup setup = {.clear = true};

	if (!check_session_start(session, &setup) || !check_device_works(session))
		return check_trouble(session);
	if (session->miss_count)
		return check_failed(session, "bit 33 is clear, and the device asks for the translation of 0x%llx",
				    (unsigned long long)session->misses[0].bus);
	return check_passed(session);
}

static enum check_verdict accepted(struct check_session *session)
{
	const struct check_setup setup = {0};

	return check_session_start(session, &setup) && check_device_works(session) ? check_passed(session)
										      : check_trouble(session);
}

const struct check_case check_cases_features[] = {
	{"platform-offered", "DEV-1", "offers bit 33, and VERSION_1 with it", 0, is_offered},
	{"platform-not-offered", "DEV-5", "refuses a driver that accepts bit 33 where it is not offered", CHECK_NEEDS_NO_PLATFORM,
	 not_offered},
	{"platform-without-version-1", "DEV-6", "refuses a driver that accepts bit 33 without VERSION_1", CHECK_NEEDS_PLATFORM,
	 without_version_1},
	{"platform-declined", "DEV-4", "uses addresses as physical ones where bit 33 is clear", CHECK_NEEDS_RING, declined},
	{"platform-accepted", "DEV-3", "translates every address where bit 33 is set", CHECK_NEEDS_RING | CHECK_NEEDS_PLATFORM,
	 accepted},
	{0},
};
