/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * session.h - what a case plays with: one connection, the memory behind it, the IOMMU before it, rings, requests.
 *
 *   session.c   a connection, from the greeting to rings that run
 *   iommu.c     what is granted, what the device asks for, how it is answered
 *   request.c   requests that any driver makes, and whether they were answered right
 *   type_*.c    what a request is, for each device type
 *
 * A case that finds the connection broken answers check_trouble: a device that crashes, hangs or talks nonsense has failed.
 */
#ifndef VIODMA_CHECK_SESSION_H
#define VIODMA_CHECK_SESSION_H

#include "check/case.h"
#include "check/command.h"
#include "check/device/memory.h"
#include "check/device/peer.h"
#include "check/device/ring.h"

#define CHECK_READ 1u
#define CHECK_WRITE 2u
#define CHECK_READ_WRITE 3u

/* ---- the connection ---- */

#define CHECK_QUEUES_MAX 2u /* of requests; as many idle ones may be beside them */

struct check_setup {
	bool clear;       /* bit 33 is declined: addresses are physical */
	bool no_event_idx, in_order;
	bool rings_unmapped; /* nothing is granted of the rings */
	bool rings_spread;   /* their pages do not adjoin in memory */
	bool record;         /* a record of what is in flight is handed over before they start */
	uint32_t size;    /* of each ring; 0: 64 */
	uint16_t index;   /* split: where they begin, as after a migration */
	unsigned queues;  /* that many request queues; 0: one */
};

/* How misses are answered. */
enum check_manner {
	CHECK_TRUE,    /* with what is granted; else refused */
	CHECK_HELD,    /* not at all: check_iommu_answer */
	CHECK_REFUSED,
};

#define CHECK_GRANTS_MAX 600u
struct check_grant {
	uint64_t bus, user, bytes;
	unsigned permission;
};

#define CHECK_MISSES_MAX 1024u
struct check_miss {
	uint64_t bus;
	unsigned permission;
	struct vhost_user_header header; /* of the question */
	bool answered, granted;
};

struct check_session {
	const struct check_options *options;
	const struct check_case *played;
	const struct check_type *type;
	struct check_outcome *outcome;
	uint64_t began_ns;
	struct check_peer peer;
	struct check_memory memory;
	/* what the device offers, */
	uint64_t offered, protocol_features, queue_count, slots;
	/* what was agreed on, */
	bool packed, platform, event_idx, started;
	bool size_refused; /* a ring's, by SET_VRING_NUM */
	uint64_t accepted;
	struct check_ring rings[2 * CHECK_QUEUES_MAX]; /* of requests, then idle ones */
	unsigned ring_count;
	struct vhost_user_inflight record; /* what is in flight; mmap_size 0: there is none */
	int record_fd;
	/* and the IOMMU. */
	enum check_manner manner;
	struct check_grant grants[CHECK_GRANTS_MAX];
	uint32_t grant_count;
	struct check_miss misses[CHECK_MISSES_MAX]; /* the first ones */
	uint32_t miss_count;                        /* all */
	struct check_command *command; /* options->command, while it runs; NULL: nobody's concern here */
	char why[512]; /* of the last thing that went wrong */
	struct check_known *known;
};

/* What lasts from session to session: the runner's. */
#define CHECK_KNOWN_BYTES 65536u
struct check_known {
	unsigned char bytes[CHECK_KNOWN_BYTES]; /* what a read from the device's beginning brings */
	uint32_t count;                         /* so many are known, */
	uint32_t unsure;                        /* but the first so many: a write to them began, and what came of it is open */
	bool learning;                          /* what is read now is what is known from now on */
	uint32_t salt;                          /* no two requests write the same */
};

/* Connect, and learn what is offered. False: session->why. */
bool check_session_open(struct check_session *session, int fd);
void check_session_close(struct check_session *session);

/*
 * Up to rings that run: features, channel, memory, rings, status. A case that wants to do one of the steps in another way does them
 * one by one. False: check_trouble says what went wrong.
 */
bool check_session_start(struct check_session *session, const struct check_setup *setup);
/* The same with a ring of 1024, which a device need not take. False: *verdict. */
bool check_session_start_large(struct check_session *session, const struct check_setup *setup, enum check_verdict *verdict);
bool check_session_features(struct check_session *session, const struct check_setup *setup);
/* SET_FEATURES of exactly these bits. *refused: the device said no (an acknowledgement, FEATURES_OK, or the end). */
bool check_session_set_features(struct check_session *session, uint64_t features, bool *refused);
bool check_session_memory(struct check_session *session);
/* The next ring, which is that queue. */
bool check_session_ring(struct check_session *session, const struct check_setup *setup, unsigned queue);
/* A ring as it is, to the device; and back: *base is where it says that it had come to. */
/* All of it to read and write, as drivers map rings. */
bool check_session_ring_grant(struct check_session *session, const struct check_ring *ring);
bool check_session_ring_start(struct check_session *session, unsigned n);
bool check_session_ring_stop(struct check_session *session, unsigned n, uint32_t *base);
/* The queue that the nth ring is. */
unsigned check_session_queue(const struct check_session *session, unsigned n);
/* The device is reset: by status, by message, or by ending every ring, whichever it knows. */
bool check_session_reset(struct check_session *session);
/* A new connection instead of this one; the memory stays. */
bool check_session_again(struct check_session *session);
/* The same, where the device has died: rings, grants and the record stay, and the rings go on from what was used. */
bool check_session_resume(struct check_session *session, const struct check_setup *setup);
/* Hand the record over; the device makes it, if there is none. */
bool check_session_record(struct check_session *session);

static inline bool check_session_has(const struct check_session *session, unsigned protocol_bit)
{
	return session->protocol_features >> protocol_bit & 1;
}

/* The connection is broken, or something that any case needs did not come about: failed, with session->why. */
enum check_verdict check_trouble(struct check_session *session);
bool check_wrong(struct check_session *session, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What a descriptor has to name: the bus address, or with bit 33 clear the physical one. */
uint64_t check_address(const struct check_session *session, const struct check_place *place);

/* A place; false: out of memory, check_trouble. */
bool check_place(struct check_session *session, uint64_t bytes, uint32_t distance, struct check_place *place);

/* Let the device be for so long, answering what it asks. */
void check_wait_ms(struct check_session *session, uint32_t ms);

/* ---- the IOMMU ---- */

/* Grant a place: the device learns of it when it asks. With bit 33 clear nothing is done. */
bool check_grant(struct check_session *session, const struct check_place *place, unsigned permission);
/* The same of any address; and at once, with an UPDATE. *refused: the device acknowledged it as failed. */
bool check_grant_at(struct check_session *session, uint64_t bus, uint64_t user, uint64_t bytes, unsigned permission);
bool check_update(struct check_session *session, uint64_t bus, uint64_t user, uint64_t bytes, unsigned permission,
		  bool *refused);
/* Take back what is granted there, with an INVALIDATE that is acknowledged. *refused likewise. */
bool check_withdraw(struct check_session *session, uint64_t bus, uint64_t bytes, bool *refused);
/* Take it back without telling the device. */
void check_forget(struct check_session *session, uint64_t bus, uint64_t bytes);
/* The nth question: send the update that it asks for, if it is granted; the reply goes later. */
bool check_miss_update(struct check_session *session, uint32_t n);
/* Answer it now by what is granted: the update, if it was not sent yet, and the reply. In the order of the questions. */
bool check_miss_answer(struct check_session *session, uint32_t n);
/* Did the device ask about any byte of this, wanting this? Since the `from`th question. */
const struct check_miss *check_miss_about(const struct check_session *session, uint32_t from, uint64_t bus, uint64_t bytes,
					  unsigned permission);
/* Wait until it has. */
const struct check_miss *check_miss_await(struct check_session *session, uint32_t from, uint64_t bus, uint64_t bytes,
					  unsigned permission);
void check_iommu_asked(struct check_session *session, const struct vhost_user_header *header, const void *payload);

/* ---- requests ---- */

enum check_direction { CHECK_TO_DEVICE, CHECK_FROM_DEVICE };
enum check_role { CHECK_HEADER, CHECK_DATA, CHECK_STATUS };

#define CHECK_PARTS_MAX 40u
struct check_part {
	struct check_place place;
	enum check_role role;
	bool writes; /* the device does */
};

struct check_request {
	enum check_direction direction;
	unsigned ring; /* the nth */
	struct check_part parts[CHECK_PARTS_MAX];
	uint32_t count, data; /* how many; the first one of the data */
	uint64_t data_bytes;
	bool table;           /* in an indirect table, which is at */
	struct check_place table_place;
	uint32_t salt;        /* of what the data is */
	int id;
	struct check_used used;
	bool done;
};

struct check_type {
	const char *name;
	uint32_t device_id;
	bool from_device, to_device;
	bool keeps;                        /* the device keeps what is written to it */
	uint64_t features;                 /* of the type's own bits, those that are accepted if offered */
	/* Of a request's data: a whole number of step_bytes; a type whose requests have one size has it three times. */
	uint32_t usual_bytes, least_bytes, most_bytes, step_bytes;
	unsigned (*queue)(unsigned n, enum check_direction direction); /* that the nth ring of requests is */
	/* A queue that a device wants to have, too, beside each ring of requests, or once. NULL: none. */
	unsigned (*idle_queue)(unsigned n);
	bool idle_per_ring;
	/* Parts but the data's, which is there: where they go, what they hold, around it. */
	bool (*make)(struct check_session *session, struct check_request *request);
	/* Is the answer right? If not, check_wrong. */
	bool (*right)(struct check_session *session, const struct check_request *request);
};

/* A request with data of so many bytes (0: usual) in one buffer at a place of its own. */
bool check_request_make(struct check_session *session, struct check_request *request, enum check_direction direction,
			uint64_t bytes);
/* The same with data in these places, in this order. */
bool check_request_make_of(struct check_session *session, struct check_request *request, enum check_direction direction,
			   const struct check_place *data, uint32_t count);
/* Any direction that the type has; to the device rather, if it has both. */
enum check_direction check_direction_of(const struct check_session *session);
/* Grant each part as its direction needs (and the table, if there is one). */
bool check_request_grant(struct check_session *session, struct check_request *request);
bool check_part_grant(struct check_session *session, const struct check_part *part);
/* All of it, each part in a page, is told to the device before it asks. */
bool check_request_tell(struct check_session *session, const struct check_request *request);
/* What may be written by it, from the last check_memory_remember on: its device-writable parts and the ring's. */
void check_request_allow(struct check_session *session, const struct check_request *request);
/* The same but for its data. */
bool check_request_grant_but_data(struct check_session *session, struct check_request *request);
/* What there is now is right, and from now on only the rings may change, and this request's status. */
void check_request_expect_status(struct check_session *session, const struct check_request *request);
/* Submitted to a device that must not serve it now: for a while all stays as it is. False: it does not; `what` was touched. */
bool check_request_stays(struct check_session *session, struct check_request *request, const char *what);
/* Make it available, and kick. */
bool check_request_submit(struct check_session *session, struct check_request *request);
bool check_request_add(struct check_session *session, struct check_request *request);
/* Wait until it is used: false: it was not in time, or something else was. Another request of `others` may be: it is done then. */
bool check_request_wait(struct check_session *session, struct check_request *request, struct check_request *others,
			uint32_t other_count, uint32_t ms);
/* All of it: granted, submitted, used, right. False: check_trouble. */
bool check_request_works(struct check_session *session, struct check_request *request);
/* Any request works. */
bool check_device_works(struct check_session *session);
/* The ring's own parts, as a device may write them. */
void check_rings_allow(struct check_session *session);
/* What we wrote into them is right. check_request_add does it; cases that lay out chains by hand do it themselves. */
void check_rings_accept(struct check_session *session);
/* Nothing but what may was touched since the last remember. False: check_trouble has it: `what` says whose bytes those are. */
bool check_untouched(struct check_session *session, const char *what);

/* The data of a request, or a pattern that stands for it: the ith byte. */
unsigned char check_data_byte(uint32_t salt, uint64_t i);

#endif
