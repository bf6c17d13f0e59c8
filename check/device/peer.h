/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peer.h - a vhost-user front end that does exactly as told, right or wrong. It knows how messages travel and nothing of
 * what they mean; the library's own front end (hosted/front) would not say what cases have to say.
 *
 * The device is untrusted, and may be none: whatever it sends is an answer, garbage, silence or the end, and each wait has its
 * time. While an answer is waited for, questions on the back-end channel are handed to `asked`.
 */
#ifndef VIODMA_CHECK_PEER_H
#define VIODMA_CHECK_PEER_H

#include <viodma/wire/vhost_user.h>

struct check_session;

enum check_answer {
	CHECK_ANSWERED,
	CHECK_SILENT,  /* nothing came in time */
	CHECK_GONE,    /* the connection has ended */
	CHECK_GARBAGE, /* what came is no answer to this */
};

struct check_peer {
	int fd, channel_fd; /* the second is where the device asks; -1: it cannot */
	uint32_t timeout_ms;
	enum check_answer state; /* CHECK_ANSWERED while the connection is sound; then what ended it, and */
	char broken[200];        /* a sentence about that */
	uint64_t waited_ns;      /* for answers, in all: twice timeout_ms is enough */
	struct check_session *session; /* for the timeline */
	/* A question came: its payload, and whether it wants a reply (check_peer_reply). */
	void (*asked)(struct check_session *session, const struct vhost_user_header *header, const void *payload);
	unsigned char in[4096];
	size_t in_bytes; /* of a question that is not there as a whole yet */
};

/* Takes fd over. */
void check_peer_init(struct check_peer *peer, int fd, uint32_t timeout_ms, struct check_session *session);
void check_peer_end(struct check_peer *peer);

/* Send a message, whole; `flags` besides the version. False: the connection has ended. */
bool check_peer_send(struct check_peer *peer, uint32_t request, uint32_t flags, const void *payload, size_t bytes,
		     const int *fds, unsigned fd_count);
/* Bytes that are no message. */
bool check_peer_send_raw(struct check_peer *peer, const void *data, size_t bytes);

/* The answer to `request`: at most room bytes, *bytes of them; and a descriptor if fd is there, -1: none came. */
enum check_answer check_peer_receive(struct check_peer *peer, uint32_t request, void *payload, size_t room, size_t *bytes,
				     int *fd);

/* A request without payload that is answered with a number. */
enum check_answer check_peer_get(struct check_peer *peer, uint32_t request, uint64_t *number);

/* A message with NEED_REPLY; the acknowledgement, 0: it was done. */
enum check_answer check_peer_ask(struct check_peer *peer, uint32_t request, const void *payload, size_t bytes,
				 const int *fds, unsigned fd_count, uint64_t *acknowledged);

/* Open the back-end channel and hand the device its end. */
enum check_answer check_peer_open_channel(struct check_peer *peer, bool reply_ack);
/* Reply to a question. */
void check_peer_reply(struct check_peer *peer, const struct vhost_user_header *question, uint64_t word);

/*
 * Until something comes at ready_fd (-1: none), or the time has passed; questions are handed on meanwhile. True: ready_fd is
 * readable.
 */
bool check_peer_wait(struct check_peer *peer, int ready_fd, uint64_t until_ns);

const char *check_peer_message_name(uint32_t request);

#endif
