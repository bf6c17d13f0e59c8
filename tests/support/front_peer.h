/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * front_peer.h - a scripted back end for tests of the front end: sound, but for one thing.
 *
 * How it works: front_peer_serve reads message after message and answers each as the protocol says, without any ring or
 * memory behind it. `hook` sees each message first and may answer it otherwise; `lie` does one wrong thing about the nth
 * message of one kind. It runs in a thread (hooks may then share variables) or in a child process (descriptors can be
 * counted, and limited), and ends when the front end hangs up.
 */
#ifndef VIODMA_TESTS_FRONT_PEER_H
#define VIODMA_TESTS_FRONT_PEER_H

#include <viodma/feature.h>
#include <viodma/wire/vhost_user.h>

#include <pthread.h>
#include <stdatomic.h>

#define PEER_FEATURES                                                                                                 \
	(VIODMA_FEATURE(VIRTIO_F_VERSION_1_BIT) | VIODMA_FEATURE(VIRTIO_F_ACCESS_PLATFORM_BIT) |                      \
	 VIODMA_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES_BIT))
#define PEER_PROTOCOL_BIT(name) ((uint64_t)1 << VHOST_USER_PROTOCOL_F_##name##_BIT)
#define PEER_PROTOCOL_FEATURES                                                                                        \
	(PEER_PROTOCOL_BIT(MQ) | PEER_PROTOCOL_BIT(REPLY_ACK) | PEER_PROTOCOL_BIT(BACKEND_REQ) |                      \
	 PEER_PROTOCOL_BIT(CONFIG) | PEER_PROTOCOL_BIT(CONFIGURE_MEM_SLOTS) | PEER_PROTOCOL_BIT(STATUS))
#define PEER_FDS 16u

enum front_peer_lie {
	LIE_NONE,
	LIE_OTHER_REQUEST, /* a reply to something else */
	LIE_NO_REPLY_FLAG,
	LIE_VERSION,
	LIE_SHORT,
	LIE_LONG,
	LIE_HUGE,  /* a size of 4 GiB less one */
	LIE_DESCRIPTORS,
	LIE_TRICKLE, /* no lie: byte by byte */
	LIE_TWICE, /* the reply, and once more */
	LIE_NACK,
	LIE_HALF,    /* half a reply, then hanging up */
	LIE_HANG_UP,
	LIE_SILENCE,
	LIE_FLOOD,   /* silence, but questions without end */
	LIE_DEAF,    /* neither answers nor reads any more, but asks */
	LIE_COUNT
};

struct front_peer_message {
	struct vhost_user_header header;
	union {
		uint64_t u64;
		struct vhost_user_vring_state state;
		struct vhost_user_vring_addr addr;
		struct vhost_user_memory memory;
		struct vhost_user_single_region single;
		struct vhost_user_iotlb iotlb;
		struct vhost_user_config config;
		struct vhost_user_inflight inflight;
		unsigned char bytes[512];
	} payload;
	int fds[PEER_FDS];
	unsigned fd_count;
};

struct front_peer {
	int fd;
	_Atomic int channel; /* -1 until it was handed over */
	uint64_t features, protocol_features;
	enum front_peer_lie lie;
	uint32_t lie_request;
	unsigned lie_nth; /* from 0 */
	/* True: it was dealt with. */
	bool (*hook)(struct front_peer *peer, const struct front_peer_message *message);
	void *context;
	pthread_t thread;
	/* What happened. */
	uint64_t accepted, protocol_accepted;
	uint8_t status;
	_Atomic unsigned seen[64]; /* messages by request */
	unsigned count[64];
};

/* A sound one, with all of the above, at `fd`. */
void front_peer_init(struct front_peer *peer, int fd);
/* A socket at a path of its own, written there (64 bytes); -1: none. */
int front_peer_listen(char *path);
/* Until the front end hangs up. Sockets are shut down then, not closed. */
void front_peer_serve(struct front_peer *peer);
/* The same in a thread, and its end, which closes them: after the front end has hung up. */
bool front_peer_start(struct front_peer *peer);
void front_peer_join(struct front_peer *peer);

/* For hooks. Each waits; false: the front end has hung up. */
bool front_peer_reply(struct front_peer *peer, uint32_t request, const void *payload, uint32_t bytes);
bool front_peer_reply_raw(struct front_peer *peer, const struct vhost_user_header *header, const void *payload,
			  uint32_t bytes, const int *fds, unsigned fd_count);
bool front_peer_ack(struct front_peer *peer, const struct front_peer_message *message, uint64_t word);
bool front_peer_read(struct front_peer *peer, struct front_peer_message *message);
/* A question on the channel. */
bool front_peer_ask(struct front_peer *peer, uint64_t bus, uint8_t permission, bool need_reply);
bool front_peer_ask_raw(struct front_peer *peer, const struct vhost_user_header *header, const void *payload,
			uint32_t bytes, const int *fds, unsigned fd_count);
/* The answer to it: 0 granted; -1: none came. */
int64_t front_peer_answer(struct front_peer *peer);

/* What INFLIGHT_SHMFD is about: a record of so many bytes, with a descriptor. */
#define PEER_RECORD_BYTES 4096u
bool front_peer_give_record(struct front_peer *peer, const struct front_peer_message *message);

/* How many descriptors this process has open. */
unsigned front_peer_descriptors(void);

#endif
