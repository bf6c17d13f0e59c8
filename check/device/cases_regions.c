/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cases_regions.c - the memory itself (PLT-10, DEV-10, DEV-13): what is added while the rings run is reached, what was taken
 * away is not, and what cannot be is refused.
 */
#include "check/device/cases.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct check_setup usual = {0};

#define NEEDS (CHECK_NEEDS_RING | CHECK_NEEDS_REPLY_ACK | CHECK_NEEDS_SLOTS)

/* Far from the session's own. */
#define PHYS 0x380000000u
#define USER 0x7e0000000000u
#define BUS 0x510000000000u
#define BYTES (8u * CHECK_PAGE)

struct added {
	int fd;
	unsigned char *at;
};

static bool begin(struct check_session *session, struct added *added)
{
	*added = (struct added){.fd = memfd_create("viodma-check", MFD_CLOEXEC), .at = MAP_FAILED};
	if (added->fd < 0 || ftruncate(added->fd, BYTES) < 0)
		return check_wrong(session, "out of memory");
	added->at = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, added->fd, 0);
	if (added->at == MAP_FAILED)
		return check_wrong(session, "out of memory");
	return check_session_start(session, &usual) && check_device_works(session);
}

static enum check_verdict end(struct added *added, enum check_verdict verdict)
{
	if (added->at != MAP_FAILED)
		munmap(added->at, BYTES);
	if (added->fd >= 0)
		close(added->fd);
	return verdict;
}

/* ADD_MEM_REG or REM_MEM_REG. False: the connection has ended. */
static bool say(struct check_session *session, uint32_t request, const struct added *added, uint64_t phys, uint64_t bytes,
		bool *refused)
{
	const struct vhost_user_single_region region = {0, {phys, bytes, USER, 0}};
	const bool add = request == VHOST_USER_ADD_MEM_REG;
	uint64_t word = 0;

	if (check_peer_ask(&session->peer, request, &region, sizeof(region), add ? &added->fd : NULL, add, &word) != CHECK_ANSWERED)
		return false;
	*refused = word != 0;
	return true;
}

/* Its first bytes are read to, by a request whose data it is. */
static bool reach(struct check_session *session, const struct added *added, struct check_request *request)
{
	const struct check_place place = {
		.at = added->at,
		.phys = PHYS,
		.user = USER,
		.bus = BUS,
		.bytes = session->type->usual_bytes,
	};
	bool refused;

	if (!say(session, VHOST_USER_ADD_MEM_REG, added, PHYS, BYTES, &refused))
		return false;
	if (refused)
		return check_wrong(session, "a region that is sound is refused (physical 0x%llx, %u bytes)", (unsigned long long)PHYS,
				   BYTES);
	return check_request_make_of(session, request, CHECK_FROM_DEVICE, &place, 1) && check_request_works(session, request);
}

static enum check_verdict added_is_reached(struct check_session *session)
{
	struct check_request request;
	struct added added;

	return end(&added, begin(session, &added) && reach(session, &added, &request) ? check_passed(session)
										     : check_trouble(session));
}

static enum check_verdict removed(struct check_session *session, struct added *added)
{
	struct check_request request;
	bool refused;

	if (!begin(session, added) || !reach(session, added, &request) ||
	    !say(session, VHOST_USER_REM_MEM_REG, added, PHYS, BYTES, &refused))
		return check_trouble(session);
	if (refused)
		return check_failed(session, "REM_MEM_REG of a region that is there is acknowledged as failed");
	memset(added->at, 0x55, BYTES);
	if (!check_request_submit(session, &request))
		return check_trouble(session);
	(void)check_request_wait(session, &request, NULL, 0, session->options->timeout_ms / 4);
	for (uint32_t i = 0; i < BYTES; i++)
		if (added->at[i] != 0x55)
			return check_failed(session, "byte %u of a region was written after its removal was acknowledged (physical 0x%llx)",
					    i, (unsigned long long)PHYS + i);
	return session->peer.state == CHECK_ANSWERED || session->peer.state == CHECK_GONE ? check_passed(session)
											  : check_trouble(session);
}

static enum check_verdict removed_is_left(struct check_session *session)
{
	struct added added;

	return end(&added, removed(session, &added));
}

/* It may end the connection over it; else it must work afterwards. */
static enum check_verdict refuses(struct check_session *session, uint32_t request, uint64_t phys, uint64_t bytes, const char *what)
{
	struct added added;
	bool refused;

	if (!begin(session, &added) || !say(session, request, &added, phys, bytes, &refused))
		return end(&added, session->peer.state == CHECK_GONE ? check_passed(session) : check_trouble(session));
	end(&added, CHECK_PASSED);
	if (!refused)
		return check_failed(session, "%s (physical 0x%llx, %llu bytes) is acknowledged as done", what,
				    (unsigned long long)phys, (unsigned long long)bytes);
	return check_device_works(session) || session->peer.state == CHECK_GONE ? check_passed(session) : check_trouble(session);
}

static enum check_verdict overlaps(struct check_session *session)
{
	return refuses(session, VHOST_USER_ADD_MEM_REG, session->memory.regions[0].phys + CHECK_PAGE, BYTES,
		       "a region that overlaps another one");
}

static enum check_verdict beyond_its_file(struct check_session *session)
{
	return refuses(session, VHOST_USER_ADD_MEM_REG, PHYS, BYTES + CHECK_PAGE, "a region that is larger than its file");
}

static enum check_verdict unknown(struct check_session *session)
{
	return refuses(session, VHOST_USER_REM_MEM_REG, PHYS, BYTES, "the removal of a region that is not there");
}

/* SET_MEM_TABLE while rings run: as a front end says it when memory comes or goes. */
static enum check_verdict table_again(struct check_session *session)
{
	for (unsigned i = 0; i < 3; i++)
		if ((i ? !check_session_memory(session) : !check_session_start(session, &usual)) || !check_device_works(session))
			return check_trouble(session);
	return check_passed(session);
}

const struct check_case check_cases_regions[] = {
	{"region-added", "PLT-10", "reaches memory that was added while its rings run", NEEDS | CHECK_NEEDS_FROM_DEVICE, added_is_reached},
	{"region-removed", "DEV-13", "touches nothing of memory whose removal it has acknowledged", NEEDS | CHECK_NEEDS_FROM_DEVICE,
	 removed_is_left},
	{"region-overlaps", "PLT-10", "refuses memory that overlaps other memory", NEEDS, overlaps},
	{"region-beyond-file", "PLT-10", "refuses memory that is larger than its file", NEEDS, beyond_its_file},
	{"region-unknown", "PLT-10", "refuses to remove memory that is not there", NEEDS, unknown},
	{"memory-table-again", "DEV-20", "goes on when the memory table is said again", CHECK_NEEDS_RING | CHECK_NEEDS_REPLY_ACK,
	 table_again},
	{0},
};
