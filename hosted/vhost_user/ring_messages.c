/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring_messages.c - how it works: what a front end says about rings, message by message, each written down until
 * rings.c finds that all is there. Sizes, descriptors and when a message is legal were checked by the table
 * (messages.c); here is what only the message itself can show to be wrong.
 */
#include "hosted/vhost_user/messages.h"

#include "core/base/require.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct viodma_vring *ring_of(struct viodma_vhost_user *backend, const struct viodma_message *message)
{
	return &backend->rings[message->payload.state.index];
}

/* Its addresses, base and size are a packed ring's: what features were accepted is known before anything about rings. */
static bool packed(const struct viodma_vhost_user *backend)
{
	return backend->accepted >> VIRTIO_F_RING_PACKED_BIT & 1;
}

static enum viodma_verdict start_if_complete(struct viodma_vring *ring, const struct viodma_message *message)
{
	const char *why;
	enum viodma_result result = viodma_vring_try_start(ring, &why);

	if (result == VIODMA_OK)
		return VIODMA_DONE;
	return viodma_connection_refuse(ring->backend, message->header.request, result, "%s", why);
}

enum viodma_verdict viodma_handle_vring_num(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	struct viodma_vring *ring = ring_of(backend, message);
	const uint32_t size = message->payload.state.num;

	if (!size || size > backend->options.queue_size_max || (size & (size - 1) && !packed(backend))) /* = DRV-17 */
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_RING_LAYOUT,
						"size %u, at most %u", size, backend->options.queue_size_max);
	ring->size = size;
	ring->size_set = true;
	return start_if_complete(ring, message);
}

enum viodma_verdict viodma_handle_vring_addr(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	const struct vhost_user_vring_addr *addr = &message->payload.addr;
	struct viodma_vring *ring = ring_of(backend, message);

	if (!VIODMA_REQUIRE(PLT_9, !addr->flags))
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE,
						"flags 0x%x: logging is not offered", addr->flags);
	ring->desc = addr->descriptor;
	ring->avail = addr->available;
	ring->used = addr->used;
	ring->address_set = true;
	return start_if_complete(ring, message);
}

enum viodma_verdict viodma_handle_vring_base(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	struct viodma_vring *ring = ring_of(backend, message);
	const uint32_t base = message->payload.state.num;

	if (!VIODMA_REQUIRE(PLT_9, base <= UINT16_MAX || packed(backend)))
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE,
						"base %u is beyond 16 bits", base);
	ring->base = base;
	ring->base_set = true;
	return start_if_complete(ring, message);
}

enum viodma_verdict viodma_handle_get_vring_base(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	backend->revocation.ring = message->payload.state.index;
	viodma_revocation_begin(backend, VIODMA_REVOKE_RING, message);
	return VIODMA_LATER;
}

static bool is_eventfd(int fd)
{
	static const char expected[] = "anon_inode:[eventfd]";
	char path[32], name[sizeof(expected)];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	length = readlink(path, name, sizeof(name)); /* a longer name fills it, and differs */
	return length == (ssize_t)sizeof(expected) - 1 && !memcmp(name, expected, sizeof(expected) - 1);
}

/* The descriptor of a message about a ring's notifications, or -1 where it says that there is none. */
static enum viodma_verdict take_eventfd(struct viodma_vhost_user *backend, struct viodma_message *message, int *fd)
{
	int flags;

	*fd = -1;
	if (message->payload.u64 & VHOST_USER_VRING_NOFD_MASK)
		return VIODMA_DONE;
	flags = fcntl(message->fds[0], F_GETFL);
	if (!is_eventfd(message->fds[0]) || flags < 0 ||
	    fcntl(message->fds[0], F_SETFL, flags | O_NONBLOCK) < 0) /* = PLT-9 */
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE,
						"the descriptor is no eventfd");
	*fd = message->fds[0];
	message->fds[0] = -1;
	return VIODMA_DONE;
}

enum viodma_verdict viodma_handle_vring_kick(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	struct viodma_vring *ring = &backend->rings[message->payload.u64 & VHOST_USER_VRING_INDEX_MASK];
	int fd;

	if (take_eventfd(backend, message, &fd) != VIODMA_DONE)
		return VIODMA_FATAL;
	viodma_vring_drop_kick(ring);
	ring->kicked = true; /* the old descriptor may have held a kick */
	ring->kick_fd = fd;
	ring->polled = fd < 0;
	if (fd >= 0 &&
	    viodma_loop_watch(ring->worker->loop, fd, VIODMA_LOOP_IN, viodma_vring_kicked, ring, &ring->kick_watch) !=
		    VIODMA_OK)
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE,
						"the descriptor cannot be waited for");
	if (ring->queue.running)
		viodma_vring_polling(ring);
	return start_if_complete(ring, message);
}

enum viodma_verdict viodma_handle_vring_call(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	struct viodma_vring *ring = &backend->rings[message->payload.u64 & VHOST_USER_VRING_INDEX_MASK];
	int fd;

	if (take_eventfd(backend, message, &fd) != VIODMA_DONE)
		return VIODMA_FATAL;
	viodma_vring_signal(ring); /* what is owed, on the old one */
	viodma_descriptor_close(&ring->call_fd);
	ring->call_fd = fd;
	ring->call_polled = fd < 0;
	if (fd >= 0)
		viodma_vring_call_owed(ring);
	return VIODMA_DONE;
}

enum viodma_verdict viodma_handle_vring_err(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	struct viodma_vring *ring = &backend->rings[message->payload.u64 & VHOST_USER_VRING_INDEX_MASK];
	int fd;

	if (take_eventfd(backend, message, &fd) != VIODMA_DONE)
		return VIODMA_FATAL;
	viodma_descriptor_close(&ring->err_fd);
	ring->err_fd = fd;
	return VIODMA_DONE;
}

enum viodma_verdict viodma_handle_vring_enable(struct viodma_vhost_user *backend, struct viodma_message *message)
{
	struct viodma_vring *ring = ring_of(backend, message);
	const uint32_t enable = message->payload.state.num;

	if (!VIODMA_REQUIRE(PLT_9, enable <= 1))
		return viodma_connection_refuse(backend, message->header.request, VIODMA_PEER_MESSAGE,
						"%u is neither 0 nor 1", enable);
	ring->enabled = enable != 0;
	ring->kicked |= ring->enabled; /* requests may have come meanwhile */
	viodma_worker_schedule(ring->worker);
	return VIODMA_DONE;
}
