/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * backend.h - what the files of this room share: one back end and its parts.
 *
 *   connection.c     the main socket: whole messages in, replies out, the end of a connection
 *   messages.c       THE TABLE of messages, and what is checked of each before its handler
 *   handlers.c       the handlers of messages that set things up
 *   memory.c         the front end's memory: regions, mapping, unmapping
 *   guard.c          memory that is taken back by truncation does not kill the process
 *   iotlb_channel.c  IOTLB messages, and the questions this side asks
 *   rings.c          rings: set-up, start, stop, turns of work
 *   notify.c         kicks, calls, errors, changes of the configuration
 *   inflight.c       the in-flight region: messages, and each ring's part of it (inflight_split.c, inflight_packed.c)
 *   workers.c        who serves the rings: this thread, or several (worker.h)
 *   worker_spaces.c  ... and the spaces of several
 *   revoke.c         what has to wait for requests in flight, without blocking the loop
 *   statistics.c     sessions, faults, counters
 *   options.c        what a back end may be asked to be, and what it offers then
 *   backend.c        life, listening, log
 *
 * Single owner: the loop's thread; with several workers, worker.h says what is whose.
 */
#ifndef VIODMA_HOSTED_VHOST_USER_BACKEND_H
#define VIODMA_HOSTED_VHOST_USER_BACKEND_H

#include "hosted/base/descriptors.h"
#include "hosted/base/rate_limit.h"
#include "hosted/vhost_user/inflight.h"
#include "hosted/vhost_user/payload.h"
#include "hosted/vhost_user/worker.h"

#include <viodma/vhost_user.h>

#include <stdatomic.h>
#include <sys/types.h>

#define VIODMA_BACKEND_MEMORY_SLOTS 509u
#define VIODMA_BACKEND_QUEUES_MAX 256u          /* an index is 8 bits wide */
#define VIODMA_BACKEND_MISSES 4096u             /* questions outstanding at once; of each worker */
#define VIODMA_BACKEND_QUESTIONS 8192u          /* of those and of dropped ones whose replies are still due; likewise */
#define VIODMA_BACKEND_COPY_BYTES (64u << 20)   /* COPY mode: private memory at once */
#define VIODMA_BACKEND_MESSAGES_PER_TURN 64u
#define VIODMA_BACKEND_FAULTS_PER_SECOND 8u
#define VIODMA_BACKEND_LINES_PER_SECOND 32u     /* of what a front end can have logged at will */
#define VIODMA_BACKEND_COPY_RETRY_NS 50000000u  /* the system had no memory: tried again this often */
#define VIODMA_BACKEND_POLL_NS 1000000u         /* rings without a kick descriptor are looked at this often */

/* One message, as it comes in. */
struct viodma_message {
	struct vhost_user_header header;
	union viodma_payload payload;
	size_t have_bytes; /* of header and payload together */
	int fds[VIODMA_DESCRIPTORS_MAX]; /* a handler that keeps one puts -1 in its place */
	unsigned fd_count;               /* may exceed the array: the rest was closed */
};

/* What became of a message. */
enum viodma_verdict {
	VIODMA_DONE,    /* acknowledged with 0 where that was asked for, or its reply body is in `reply` */
	VIODMA_LATER,   /* a revocation has begun, and answers when it is complete */
	VIODMA_REFUSED, /* acknowledged with 1; the connection goes on */
	VIODMA_FATAL    /* acknowledged with 1 where that was asked for; the connection ends */
};

struct viodma_connection {
	int fd; /* -1: nobody is connected */
	struct viodma_loop_watch *watch;
	struct viodma_message message; /* in the making */
	unsigned char out[sizeof(struct vhost_user_header) + sizeof(union viodma_payload)];
	size_t out_bytes, out_sent;
	int out_fd; /* goes with it; -1: none */
	uint64_t protocol_features;
	bool features_set;
	bool told; /* its lines are logged */
};

struct viodma_question {
	uint64_t bus;    /* or the ring, of VRING_CALL and VRING_ERR */
	uint8_t request; /* VHOST_USER_BACKEND_* */
	uint8_t permission;
	bool dropped; /* nobody waits for the answer any more */
};

/* Something to be said on that channel that is true once or not at all. */
struct viodma_notice {
	bool out;   /* said; the reply is due */
	bool again; /* and to be said once more then */
};

/* The back end's own requests. questions[head..sent) wait for replies, [sent..tail) to be sent; all modulo. */
struct viodma_channel {
	int fd; /* -1: none */
	struct viodma_loop_watch *watch;
	struct viodma_question *questions;
	uint32_t capacity; /* a power of two */
	uint32_t head, sent, tail;
	uint32_t refused_until; /* refusals are remembered until the head has come this far */
	size_t sent_bytes; /* of question `sent` */
	unsigned char in[1280];
	size_t in_bytes;
	bool overflow;
};

/* A ring's part of the in-flight region. */
struct viodma_record {
	bool packed;
	bool given; /* a region was handed over since the ring last stopped */
	unsigned char *memory; /* private, for either kind */
	union {
		struct viodma_inflight_split split;
		struct viodma_inflight_packed packed;
	} as;
};

/* The in-flight region. */
struct viodma_inflight {
	struct viodma_region region; /* memory NULL: none */
	uint16_t queue_count, desc_num;
};

struct viodma_vring {
	struct viodma_vhost_user *backend;
	struct viodma_worker *worker;
	unsigned index;
	struct viodma_queue queue;
	void *memory;
	/* What the front end set. */
	bool size_set, address_set, base_set, enabled;
	bool status_was_reset; /* SET_STATUS 0 since it last started */
	bool was_stopped;      /* and `base` said where */
	uint32_t stopped_base;
	struct viodma_record record;
	uint32_t size;
	uint64_t desc, avail, used; /* as sent: bus or user addresses */
	uint32_t base;
	int kick_fd, call_fd, err_fd;
	struct viodma_loop_watch *kick_watch;
	bool polled;        /* no kick descriptor: looked at now and then */
	bool kicked_inband; /* no kick descriptor: messages kick */
	bool call_polled;   /* no call descriptor, and no messages either */
	struct viodma_notice call_notice, err_notice;
	/* What happens. */
	bool kicked, more, call_owed, broken_told;
	bool say_call, say_error; /* messages that the loop's thread is to send for its worker */
	bool busy; /* looked at in each turn: the poller has said so */
	struct viodma_poller poller;
	uint64_t fetched, pushed; /* requests, when it was looked at last */
	/* Counters when the ring started. */
	uint64_t session_pushed, session_faults, session_peak;
	struct viodma_space_statistics session_space;
	struct viodma_iotlb_statistics session_iotlb;
};

enum viodma_revocation_kind {
	VIODMA_REVOKE_NOTHING,
	VIODMA_REVOKE_MAPPING,    /* IOTLB INVALIDATE */
	VIODMA_REVOKE_TABLE,      /* SET_MEM_TABLE */
	VIODMA_REVOKE_REGION,     /* REM_MEM_REG */
	VIODMA_REVOKE_RING,       /* GET_VRING_BASE */
	VIODMA_REVOKE_RESET,      /* SET_STATUS 0 */
	VIODMA_REVOKE_DEVICE,     /* RESET_DEVICE */
	VIODMA_REVOKE_CONNECTION  /* the front end has gone */
};

struct viodma_revocation {
	enum viodma_revocation_kind kind;
	uint32_t request; /* the message it answers */
	bool ack;         /* which asked for an acknowledgement */
	viodma_bus first, last;
	viodma_phys phys;
	unsigned ring;
	struct viodma_region staged[VHOST_USER_MEMORY_REGIONS]; /* mapped, not yet part of the space */
	unsigned staged_count;
	struct viodma_loop_timer *timer;
};

struct viodma_vhost_user {
	struct viodma_loop *loop;
	struct viodma_vhost_user_ops ops;
	void *device;
	struct viodma_vhost_user_options options;
	uint64_t offered, offered_protocol;

	int listen_fd; /* -1: made from a connected socket */
	struct viodma_loop_watch *listen_watch;
	struct viodma_loop_timer *listen_timer; /* armed while accepting fails */
	dev_t socket_device;
	ino_t socket_inode;
	bool closing;  /* viodma_vhost_user_free was called */
	bool finished; /* there will be no other front end */

	struct viodma_connection connection;
	struct viodma_channel channel;
	struct viodma_notice config_notice;
	struct viodma_revocation revocation;

	uint64_t accepted;
	enum viodma_addressing addressing;
	uint8_t status;

	struct viodma_space space;
	void *region_storage;
	uint64_t region_bytes;
	struct viodma_inflight inflight;
	_Atomic int memory_gone; /* set by the SIGBUS guard */
	struct viodma_iotlb iotlb;
	struct viodma_vring *rings; /* options.queue_count */
	struct viodma_worker *workers;
	unsigned worker_count;
	unsigned held;        /* several workers: the loop's thread has their locks, so many times */
	atomic_bool told;     /* several workers: news_fd is readable, or has been read just now */
	int news_fd;          /* -1: none */
	struct viodma_loop_watch *news_watch;
	uint64_t update_first, update_last; /* an update is being made there */
	pthread_mutex_t shared; /* of the log and the faults, where several workers may have something to say */
	struct viodma_rate_limit log_limit, ring_limit, connection_limit;
	struct viodma_loop_deferred *turn; /* several workers: what is not theirs */

	uint64_t connections, reachable_peak;
	uint64_t fault_count;
	uint32_t faults_kept;
	struct viodma_fault faults[VIODMA_VHOST_USER_FAULTS];
	uint64_t fault_window_ns, faults_unlogged;
	unsigned faults_logged;
	uint64_t session_count;
	uint32_t sessions_kept;
	struct viodma_vhost_user_session sessions[VIODMA_VHOST_USER_SESSIONS];
};

/* options.c */
void viodma_options_set_defaults(struct viodma_vhost_user_options *options);
/* In range and consistent? If not, a line says which is not, and what was expected. */
bool viodma_options_sound(struct viodma_vhost_user *backend);
/* Feature bits of rings to offer, and protocol features. */
uint64_t viodma_options_features(const struct viodma_vhost_user *backend);
uint64_t viodma_options_protocol(const struct viodma_vhost_user *backend);

/* backend.c */
void viodma_backend_log(struct viodma_vhost_user *backend, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The same for what a front end or driver can cause at will, and does not end its connection: so many in a second. */
void viodma_backend_log_some(struct viodma_vhost_user *backend, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The same for rings that start and stop, which a driver may let them do often: it leaves out nothing else. */
void viodma_backend_log_ring(struct viodma_vhost_user *backend, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Log how many lines were left out, if any. */
void viodma_backend_log_left_out(struct viodma_vhost_user *backend, uint64_t left_out);
void viodma_backend_listen_again(struct viodma_vhost_user *backend);
/* What the spaces that rings use have to tell. */
struct viodma_space_events viodma_backend_events_of_rings(struct viodma_vhost_user *backend);
static inline bool viodma_workers_several(const struct viodma_vhost_user *backend)
{
	return backend->worker_count > 1;
}
/* The loop's thread has a turn soon. */
static inline void viodma_backend_schedule(struct viodma_vhost_user *backend)
{
	viodma_loop_schedule(viodma_workers_several(backend) ? backend->turn : backend->workers->turn);
}
static inline bool viodma_backend_negotiated(const struct viodma_vhost_user *backend, unsigned protocol_bit)
{
	return backend->connection.protocol_features >> protocol_bit & 1;
}

/* connection.c */
enum viodma_result viodma_connection_open(struct viodma_vhost_user *backend, int fd);
void viodma_connection_read(struct viodma_vhost_user *backend);
/* Once in each turn: replies on the back-end channel do not wait for a message that may never come. */
void viodma_connection_catch_up(struct viodma_vhost_user *backend);
/* Watch for what can be dealt with now. */
void viodma_connection_update(struct viodma_vhost_user *backend);
/* Log a refusal, name the message and the requirement `result` carries. Answers VIODMA_FATAL. */
enum viodma_verdict viodma_connection_refuse(struct viodma_vhost_user *backend, uint32_t request,
					     enum viodma_result result, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
void viodma_connection_reply(struct viodma_vhost_user *backend, uint32_t request, const void *payload, size_t bytes);
/* With a descriptor, which is closed once it was sent. */
void viodma_connection_reply_fd(struct viodma_vhost_user *backend, uint32_t request, const void *payload, size_t bytes,
				int fd);
/* Log what happens once in a connection: of all of them, or of none where there are too many. */
void viodma_connection_log(struct viodma_vhost_user *backend, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The end: sockets close at once; memory and rings go when nothing is in flight (revoke.c). Not while in_use. */
void viodma_connection_end(struct viodma_vhost_user *backend, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void viodma_close_fds(struct viodma_message *message);

/* memory.c. `why` is set to a text when a result is not VIODMA_OK. */
enum viodma_result viodma_memory_map(struct viodma_vhost_user *backend, const struct vhost_user_region *wire, int fd,
				     struct viodma_region *region, const char **why);
void viodma_memory_unmap(struct viodma_region *region);
void viodma_memory_log(struct viodma_vhost_user *backend);
enum viodma_verdict viodma_handle_mem_table(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_add_region(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_remove_region(struct viodma_vhost_user *backend, struct viodma_message *message);
/* Take every region out of the space and unmap it. Pre: nothing pins them. */
void viodma_memory_drop_all(struct viodma_vhost_user *backend);
/* Make mapped regions part of the space; unmaps those it refuses. */
enum viodma_result viodma_memory_add_all(struct viodma_vhost_user *backend, struct viodma_region *regions,
					 unsigned count);

/* iotlb_channel.c */
/* Put a message at the end of the list. False: there is no room, and the connection ends. */
bool viodma_channel_say(struct viodma_vhost_user *backend, const struct viodma_question *question);
void viodma_channel_ask(void *context, viodma_bus bus, enum viodma_permission wanted);
void viodma_channel_flush(struct viodma_vhost_user *backend);
/* Deal with replies that came before everything read from the main socket by now. */
void viodma_channel_replies(struct viodma_vhost_user *backend);
bool viodma_channel_has_replies(const struct viodma_vhost_user *backend);
void viodma_channel_update(struct viodma_vhost_user *backend);
void viodma_channel_close(struct viodma_vhost_user *backend);
/* Forget mappings and questions; replies still due will be ignored. */
void viodma_channel_clear_iotlb(struct viodma_vhost_user *backend);
enum viodma_verdict viodma_handle_backend_fd(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_iotlb(struct viodma_vhost_user *backend, struct viodma_message *message);

/* rings.c */
enum viodma_result viodma_vring_init(struct viodma_vhost_user *backend, unsigned index);
void viodma_vring_destroy(struct viodma_vring *ring);
bool viodma_vring_any_running(const struct viodma_vhost_user *backend);
uint32_t viodma_vring_submitted(const struct viodma_vhost_user *backend);
/* Start it if all it needs is there. On anything but VIODMA_OK *why says what is wrong. */
enum viodma_result viodma_vring_try_start(struct viodma_vring *ring, const char **why);
/* Stop it if it runs; its kick descriptor goes. Pre: nothing submitted. */
void viodma_vring_stop(struct viodma_vring *ring);
/* As at the beginning of a connection. Pre: nothing submitted. */
void viodma_vring_reset(struct viodma_vring *ring, bool keep_notifiers);

/* SET_STATUS 0: it stops and has to be set up again; base and what is held stay, for GET_VRING_BASE and a start there. */
void viodma_vring_forget_setup(struct viodma_vring *ring);
/* The memory table was replaced: ring addresses are translated again. */
enum viodma_result viodma_vring_relocate(struct viodma_vring *ring, const char **why);
/* A worker's turn: its rings. */
void viodma_worker_turn(void *context);
/* The back end's: all but the rings. One worker's turn ends with it; with several it is a deferred call of its own. */
void viodma_backend_turn(void *context);
enum viodma_verdict viodma_handle_vring_num(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_vring_addr(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_vring_base(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_get_vring_base(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_vring_kick(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_vring_call(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_vring_err(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_vring_enable(struct viodma_vhost_user *backend, struct viodma_message *message);

/* inflight.c */
/* Give a ring that is about to start its record, if there is a region. VIODMA_PEER_RECORD: that has no room for it. */
enum viodma_result viodma_record_attach(struct viodma_vring *ring, bool packed);
/* Its ring begins anew: nothing is in flight. */
void viodma_record_forget(struct viodma_vring *ring);
/* There is no region any more. Pre: no ring runs. */
void viodma_inflight_drop(struct viodma_vhost_user *backend);
enum viodma_verdict viodma_handle_get_inflight(struct viodma_vhost_user *backend, struct viodma_message *message);
enum viodma_verdict viodma_handle_set_inflight(struct viodma_vhost_user *backend, struct viodma_message *message);

/* notify.c */
/* Call the driver if it wants to be, for what was pushed; call it; call it if that is owed; tell of an error. */
void viodma_vring_signal(struct viodma_vring *ring);
void viodma_vring_call(struct viodma_vring *ring);
void viodma_vring_call_owed(struct viodma_vring *ring);
void viodma_vring_error(struct viodma_vring *ring);
/* A message of this file was answered (ok), or will not be. */
void viodma_notify_said(struct viodma_vhost_user *backend, const struct viodma_question *question, bool ok);
void viodma_vring_unwatch_kick(struct viodma_vring *ring);
/* No more kicks: the descriptor is closed. */
void viodma_vring_drop_kick(struct viodma_vring *ring);
/* Arm the poll timer if this ring has no kick descriptor. */
void viodma_vring_polling(struct viodma_vring *ring);
/* The kick descriptor is readable: the watch's callback. */
void viodma_vring_kicked(void *context, unsigned events);
/* The worker's timer has expired: look at its rings without a kick descriptor. */
void viodma_worker_poll(void *context);
/* What workers could not say themselves. */
void viodma_notify_for_workers(struct viodma_vhost_user *backend);
enum viodma_verdict viodma_handle_inband_kick(struct viodma_vhost_user *backend, struct viodma_message *message);

/* revoke.c */
/* Begin; the caller answers VIODMA_LATER. Nothing but the end of the connection may begin while one is pending. */
void viodma_revocation_begin(struct viodma_vhost_user *backend, enum viodma_revocation_kind kind,
			     const struct viodma_message *message);
/* Complete it if nothing in flight is in its way. */
void viodma_revocation_advance(struct viodma_vhost_user *backend);
/* May this ring's requests be popped now? */
bool viodma_revocation_allows(const struct viodma_vhost_user *backend, const struct viodma_vring *ring);
void viodma_revocation_expired(void *context);

/* statistics.c */
void viodma_session_begin(struct viodma_vring *ring);
void viodma_session_end(struct viodma_vring *ring);
void viodma_reachable_changed(struct viodma_vhost_user *backend);
void viodma_fault_note(void *context, const struct viodma_fault *fault);
void viodma_faults_unlogged(struct viodma_vhost_user *backend);

#endif
