/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viodma/vhost_user_front.h - a vhost-user front end: the transport of the driver half to any back end, and the platform
 * between the two. What a VMM is to its devices, this is to a program that drives one.
 *
 * The device, another process, reaches what it was handed and nothing else: the objects given to
 * viodma_front_share. So a program whose memory is private, and which shares only its pool, is a secure VM as far as the
 * device can tell. Within what it was handed, bit 33 makes the device keep to the IOTLB entries that this front end grants.
 * Behind an IOMMU, too, every object that buffers lie in has to be shared, unless all of them bounce: a map of one that is
 * not is VIODMA_E_IO, and a log line.
 *
 *	viodma_front_connect
 *	viodma_front_memory_new; viodma_pool_init, viodma_pool_add (it clears the memory, so before the next step)
 *	viodma_front_share        what the device may have at all: the pool, and other memory where the platform has it so
 *	viodma_driver_negotiate   over viodma_front_transport; then by its decision:
 *	  addressing physical     nothing is granted: the device reaches all that is shared
 *	  platform, fixed         viodma_front_grant each range: its bus address as the platform's windows say (direct: the
 *	                          physical one). Restricted: the pool, and no more
 *	  platform, IOMMU         nothing by hand: give viodma_front_iommu_ops to the domain; mappings are granted while they live
 *	viodma_domain_init, viodma_driver_queue_init and _enable, the driver's init, viodma_driver_ready
 *	...                       the driver's poll; when it answers VIODMA_EMPTY, viodma_front_wait until a call or the next
 *	                          deadline: VIODMA_OK and VIODMA_E_TIMEOUT mean poll again, anything else ends the device
 *	viodma_driver_reset; the driver's stop and free, viodma_driver_queue_free, viodma_domain_free, viodma_pool_free
 *	viodma_front_free, viodma_front_memory_free
 *
 * The back end is untrusted: messages, sizes and descriptors are checked; what it does wrong ends the connection with a
 * log line and VIODMA_PEER_MESSAGE, or VIODMA_PEER_GONE. Nothing blocks longer than timeout_ms. While a reply is waited for,
 * misses are served, so that a device that translates cannot be dead-locked.
 *
 * Memory may be shared before or after the negotiation. The transport never answers VIODMA_WAIT; viodma_driver_negotiate
 * and _reset do only where a back end's status does not become 0.
 *
 * Single owner: one thread. Units: bytes, milliseconds and nanoseconds (CLOCK_MONOTONIC).
 */
#ifndef VIODMA_VHOST_USER_FRONT_H
#define VIODMA_VHOST_USER_FRONT_H

#include <viodma/iommu.h>
#include <viodma/memory.h>
#include <viodma/poller.h>
#include <viodma/transport.h>

#ifdef __cplusplus
extern "C" {
#endif

struct viodma_front;

struct viodma_front_options {
	const char *name;        /* of the device, in log lines and messages; default "device" */
	const char *socket_path; /* connect here; NULL: socket_fd is used */
	/* A connected Unix stream socket; the front end's once the call has succeeded. With a socket_path not looked at. */
	int socket_fd;
	uint32_t timeout_ms;     /* for each reply, and for each invalidation; default 10000 */
	/*
	 * VHOST_USER_PROTOCOL_F_* not to use though the back end has them, a bit each: for tests, and odd back ends. Without
	 * BACKEND_REQ a device is not told that it may ask (misses), so everything is granted in advance.
	 */
	uint64_t protocol_features_masked;
	/* The protocol has no way to ask how large a queue may be. At most 32768; default 1024. */
	uint32_t queue_size_max;
	/*
	 * Kicks and calls are messages, not descriptors, where the back end can (INBAND_NOTIFICATIONS). A kick then waits until
	 * it has been dealt with. For tests.
	 */
	bool inband_notifications;
	/*
	 * Where the back end has gone, whatever finds that out connects to its successor itself (viodma_front_reconnect), waits
	 * so long for it, and goes on: nobody else notices. 0: it does not. No effect with socket_fd, or where the back end
	 * keeps no record (INFLIGHT_SHMFD): a line of the log says so once.
	 */
	uint32_t reconnect_ms;
	/*
	 * A line for each event, whole ("viodma: NAME: ..."), without newline; of what a back end can cause at will 16 a
	 * second, and how many were left out. Default: none; what a failed connection was about is
	 * then in errno only.
	 */
	void (*log)(void *context, const char *line);
	void *context;
};

/* Memory that can be handed over: a file descriptor that can be mapped (a memfd). */
struct viodma_front_memory {
	struct viodma_object object; /* as the driver's domain knows it: pointer, physical address, length */
	int fd;                      /* duplicated in the message; stays the caller's */
	uint64_t fd_offset;
};

struct viodma_front_statistics {
	uint64_t protocol_features;
	uint64_t shared_bytes;                /* handed over now */
	uint64_t granted_bytes, granted_bytes_peak; /* what the IOTLB may hold now */
	uint64_t misses, granted, refused;    /* asked by the back end; answered with a grant; refused */
	uint64_t updates, invalidations;      /* sent, of the IOTLB */
	uint64_t messages;                    /* sent and received, all kinds */
	uint64_t kicks, calls;                /* sent: what a queue suppressed is not among them; received */
	uint64_t reconnections;
};

/* A refused miss: the device asked for what is not mapped, or not with this permission (PLT-6). */
struct viodma_front_refusal {
	viodma_bus bus;
	enum viodma_permission permission;
	enum viodma_result reason; /* VIODMA_FAULT_UNMAPPED, VIODMA_FAULT_PERMISSION */
};
#define VIODMA_FRONT_REFUSALS 16

/* Connect and agree on the protocol. VIODMA_E_INVALID, VIODMA_E_IO (errno), VIODMA_E_TIMEOUT, VIODMA_PEER_*: logged. */
VIODMA_MUST_USE enum viodma_result viodma_front_connect(const struct viodma_front_options *options,
							struct viodma_front **front);

/* The connection ends; grants and shares end with it. NULL is allowed. Before it: reset the device, free domains. */
void viodma_front_free(struct viodma_front *front);

/* The transport, for viodma_driver_negotiate; lives as long as the front end. */
const struct viodma_transport *viodma_front_transport(struct viodma_front *front);

/*
 * Make an anonymous memfd of len_bytes (a multiple of 4096), mapped shared and zero, sealed against shrinking; and undo it.
 * phys: its physical address, which is the program's to invent: any multiple of 4096 with which it overlaps no other object.
 * VIODMA_E_NO_MEMORY, VIODMA_E_IO (errno).
 */
VIODMA_MUST_USE enum viodma_result viodma_front_memory_new(uint64_t len_bytes, viodma_phys phys,
							   struct viodma_front_memory *memory);
void viodma_front_memory_free(struct viodma_front_memory *memory);

/*
 * Hand memory over, before the rings are set up or, where the back end can (CONFIGURE_MEM_SLOTS), while it runs; and take
 * it back, which waits until the device no longer uses it. VIODMA_E_NO_SPACE: more objects than the back end takes.
 * VIODMA_E_UNSUPPORTED: it runs and has no slots; or, to take back, no REPLY_ACK, so that nothing would prove it.
 * VIODMA_E_INVALID: overlaps, or not page-aligned (logged). VIODMA_E_BUSY: grants lead there yet (withdraw them first),
 * or, with bit 33 clear, a ring lies there. VIODMA_E_IO: the back end refuses, or errno. Whatever else fails ends the
 * connection, and then the memory counts as handed over. What a back end says of memory is its word: one that refuses
 * it, or gives it back, has had the descriptor, and could have mapped it; what must stay private is never handed over
 * at all.
 * QEMU's library (7.2) breaks the connection where memory is added after that of its rings was taken back.
 */
VIODMA_MUST_USE enum viodma_result viodma_front_share(struct viodma_front *front, const struct viodma_front_memory *memory);
VIODMA_MUST_USE enum viodma_result viodma_front_unshare(struct viodma_front *front, viodma_phys phys);

/*
 * The IOMMU role (bit 33 set). The table maps bus addresses to shared memory, with a permission. grant: enter; the device
 * learns of it when it asks, or at once where it cannot ask or `now` is set. It is given what it asks for, never more than
 * permission. withdraw: take out, tell the device if it was handed any of it, and wait until it has ended every access
 * (PLT-5). O(log n) for each entry.
 * grant: VIODMA_E_INVALID: overlaps a grant, wraps, or is not all in one object that is shared. VIODMA_E_NO_MEMORY.
 * VIODMA_E_IO: the back end refuses it.
 * withdraw: VIODMA_E_NOT_FOUND: nothing is granted there. VIODMA_E_INVALID: it would cut a grant in two; nothing was done.
 * Otherwise it is not granted any more, but if the answer is not VIODMA_OK, the device may still reach the memory:
 * VIODMA_E_TIMEOUT: no acknowledgement came, and the connection has ended; VIODMA_E_UNSUPPORTED: without REPLY_ACK none can.
 * The addresses can then not be granted again.
 * A reset (status 0) withdraws nothing, but the device has to ask for everything anew.
 */
VIODMA_MUST_USE enum viodma_result viodma_front_grant(struct viodma_front *front, viodma_bus bus, viodma_phys phys,
						      uint64_t len_bytes, enum viodma_permission permission, bool now);
VIODMA_MUST_USE enum viodma_result viodma_front_withdraw(struct viodma_front *front, viodma_bus bus, uint64_t len_bytes);
VIODMA_MUST_USE enum viodma_result viodma_front_withdraw_all(struct viodma_front *front);

/*
 * The same as operations of a domain's IOMMU; the context is the front end. Granules of 4096 bytes: the platform has to say
 * so (granule=4K; it is 1 where nothing is said, and then there are soon no bus addresses left: VIODMA_E_LIMIT). Granted on
 * demand: the device asks for what it touches, a question for each page of a mapping until it was told of all of it, and
 * anew for each new one. What unmap took out, nothing is granted of any more; invalidate tells the device, and is no
 * message where it was not handed anything.
 */
const struct viodma_iommu_ops *viodma_front_iommu_ops(void);

/* The clock for now_ns of struct viodma_iommu_config; the context is not looked at. */
uint64_t viodma_front_now_ns(void *context);

/*
 * The back end has gone (VIODMA_PEER_GONE) or was replaced: connect to its successor, at the same socket path, and put it
 * where the last one was: the same features, what was written into the configuration since the last reset, memory, grants,
 * rings, and the record of what was in flight (INFLIGHT_SHMFD). The driver half does not notice: what it had made available
 * is done, once each as far as it was given
 * back. VIODMA_E_UNSUPPORTED: the record was not negotiated, or socket_fd was used; VIODMA_PEER_FEATURES: the successor does not
 * offer what was agreed on; VIODMA_E_IO: it refuses something it was told; VIODMA_E_TIMEOUT: nobody listens there before
 * deadline_ns. May be called again. Whoever starts a successor answers for it that the predecessor is no more: what waited
 * for its acknowledgement of an invalidation has it then. Afterwards poll: it may have been gone before it called.
 */
VIODMA_MUST_USE enum viodma_result viodma_front_reconnect(struct viodma_front *front, uint64_t deadline_ns);

/*
 * Has the device said that its configuration changed since this was asked last, or is there a successor, whose
 * configuration may differ?
 */
bool viodma_front_config_changed(struct viodma_front *front);

/*
 * Wait until a queue was called, the configuration has changed, or there is a successor; the deadline has passed (VIODMA_E_TIMEOUT); or the back
 * end has gone or broken a rule (VIODMA_PEER_GONE, VIODMA_PEER_MESSAGE). Misses are answered meanwhile, for timeout_ms
 * beyond the deadline at most. deadline_ns in the past: only look. What has broken the connection once is the answer of
 * this and every other call from then on; only here, a back end that did not answer in time has gone (VIODMA_PEER_GONE).
 */
VIODMA_MUST_USE enum viodma_result viodma_front_wait(struct viodma_front *front, uint64_t deadline_ns);

/*
 * Before that: look, again and again, for as long as the poller says (viodma/poller.h), and answer misses meanwhile. The
 * caller has initialised the poller and leaves the rest of its functions to this one. `look`, with now_ns in the clock of
 * viodma_loop_now_ns, is the driver's poll, after the driver was told whether it is polled:
 *
 *	viodma_driver_blk_set_polled(blk, polled);
 *	return viodma_driver_blk_poll(blk, now_ns);
 *
 * VIODMA_EMPTY: nothing came, and the last look, with polled false, has asked for a call: now viodma_front_wait. Otherwise what
 * look answered, or viodma_front_wait would.
 */
VIODMA_MUST_USE enum viodma_result viodma_front_look(struct viodma_front *front, struct viodma_poller *poller,
						     enum viodma_result (*look)(void *context, uint64_t now_ns, bool polled),
						     void *context);

/* A descriptor that is readable when viodma_front_wait has something to do: for a caller's own poll. */
int viodma_front_fd(const struct viodma_front *front);

void viodma_front_statistics(const struct viodma_front *front, struct viodma_front_statistics *statistics);

/* The newest refused misses, oldest first; *total counts all. Answers how many there are. */
uint32_t viodma_front_refusals(const struct viodma_front *front,
			       struct viodma_front_refusal refusals[VIODMA_FRONT_REFUSALS], uint64_t *total);

#ifdef __cplusplus
}
#endif

#endif
