/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz.c - how it works: the back end gets one end of a socket pair; a deferred call of the same loop plays the front
 * end at the other, one step of the buffer per round, so that everything happens in one thread and in the same order
 * every time. The device behind it copies requests' readable part into their writable part.
 *
 * The buffer is: one byte of options, then steps until it ends.
 *
 *	options  bit 0: begin with a good negotiation, memory and a started ring
 *	         bit 1: with bit 33 accepted
 *	         bit 2: COPY mode   bit 3: answer misses truthfully   bit 4: the ring's memory is filled from the buffer
 *	step     one byte says what:
 *	           0..47   a message whose header is good: that request id, the next byte's low bits say need_reply,
 *	                   then one byte of payload length and the payload; descriptors of the kind it wants
 *	           48..63  raw bytes: one byte of length, and the bytes; low bits: how many descriptors of any kind
 *	           64..127 write into the memory: two bytes of offset, one of length, and the bytes
 *	           128..191 kick
 *	           192..255 answer a question on the back-end channel with the low bit
 *
 * Steps wrap and truncate rather than fail, so that every buffer means something.
 */
#include "hosted/vhost_user/fuzz.h"
#include "hosted/vhost_user/messages.h"

#include <viodma/wire/ring.h>

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define MEMORY_BYTES 65536u
#define USER_BASE 0x7f0000000000u
#define PHYS_BASE 0x100000u
#define BUS_BASE 0xab0000000u
#define RING_SIZE 16u
#define IDLE_ROUNDS 4

struct feeder {
	const uint8_t *at, *end;
	struct viodma_loop *loop;
	struct viodma_loop_deferred *step;
	struct viodma_vhost_user *backend;
	int socket, channel; /* the front end's ends */
	int memory_fd, kick_fd;
	uint8_t *memory;
	uint8_t options;
	unsigned idle;
	bool hung_up;
};

static uint8_t next_byte(struct feeder *feeder)
{
	return feeder->at < feeder->end ? *feeder->at++ : 0;
}

/* Up to `wanted` bytes; fewer where the buffer ends. */
static size_t next_bytes(struct feeder *feeder, uint8_t *to, size_t wanted)
{
	size_t left = (size_t)(feeder->end - feeder->at), count = wanted < left ? wanted : left;

	memcpy(to, feeder->at, count);
	feeder->at += count;
	return count;
}

/* ---- the device ---- */

static enum viodma_result process(void *device, struct viodma_queue *queue)
{
	struct viodma_request *request;
	enum viodma_result result;

	(void)device;
	for (uint32_t n = 0; n < queue->setup.size; n++) {
		unsigned char bytes[64];
		uint32_t count;

		result = viodma_queue_pop(queue, &request);
		if (result != VIODMA_OK)
			return result;
		if (request->result != VIODMA_OK) {
			(void)!viodma_queue_reject(queue, request, "\1", 1);
			continue;
		}
		count = request->readable_bytes < sizeof(bytes) ? request->readable_bytes : sizeof(bytes);
		if (count > request->writable_bytes)
			count = request->writable_bytes;
		if (viodma_request_read(request, 0, bytes, count) != VIODMA_OK ||
		    viodma_request_write(request, 0, bytes, count) != VIODMA_OK)
			abort();
		viodma_queue_push(queue, request, count);
	}
	return VIODMA_OK;
}

static enum viodma_result read_config(void *device, uint32_t offset, void *destination, uint32_t len_bytes)
{
	(void)device;
	memset(destination, (int)offset, len_bytes);
	return VIODMA_OK;
}

static void fail_held(void *device, struct viodma_queue *queue)
{
	struct viodma_request *request;

	(void)device;
	while (viodma_queue_pop_held(queue, &request) == VIODMA_OK)
		if (viodma_queue_reject(queue, request, "\1", 1) == VIODMA_MISS)
			break;
}

/* ---- the front end ---- */

static void send_bytes(int fd, const void *bytes, size_t count, const int *fds, unsigned fd_count)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * 8)];
	} control;
	struct iovec vector = {(void *)(uintptr_t)bytes, count};
	struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};

	if (fd_count) {
		struct cmsghdr *first;

		memset(&control, 0, sizeof(control));
		header.msg_control = control.space;
		header.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		first = CMSG_FIRSTHDR(&header);
		first->cmsg_level = SOL_SOCKET;
		first->cmsg_type = SCM_RIGHTS;
		first->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(first), fds, sizeof(int) * fd_count);
	}
	if (fd >= 0 && count)
		(void)!sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void send_message(struct feeder *feeder, uint32_t request, bool need_reply, const void *payload, uint32_t bytes,
			 const int *fds, unsigned fd_count)
{
	unsigned char whole[sizeof(struct vhost_user_header) + 512];
	const struct vhost_user_header header = {
		request, VHOST_USER_VERSION | (need_reply ? VHOST_USER_NEED_REPLY : 0), bytes};

	memcpy(whole, &header, sizeof(header));
	if (bytes)
		memcpy(whole + sizeof(header), payload, bytes);
	send_bytes(feeder->socket, whole, sizeof(header) + bytes, fds, fd_count);
}

/* The descriptors a message wants, of the kind it wants. */
static unsigned fds_for(struct feeder *feeder, uint32_t request, const uint8_t *payload, uint32_t bytes, int *fds)
{
	int pair[2];

	switch (request) {
	case VHOST_USER_SET_MEM_TABLE:
		for (unsigned i = 0; i < 8; i++)
			fds[i] = feeder->memory_fd;
		return bytes ? payload[0] & 7 : 0;
	case VHOST_USER_ADD_MEM_REG:
		fds[0] = feeder->memory_fd;
		return 1;
	case VHOST_USER_SET_VRING_KICK:
	case VHOST_USER_SET_VRING_CALL:
	case VHOST_USER_SET_VRING_ERR:
		fds[0] = feeder->kick_fd;
		return bytes > 1 && (payload[1] & 1) ? 0 : 1;
	case VHOST_USER_SET_BACKEND_REQ_FD:
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
			return 0;
		if (feeder->channel >= 0)
			close(feeder->channel);
		feeder->channel = pair[0];
		fds[0] = pair[1]; /* closed once it is sent */
		return 1;
	default:
		return 0;
	}
}

static void tell(struct feeder *feeder, uint32_t request, bool need_reply, const void *payload, uint32_t bytes)
{
	int fds[8];
	unsigned count = fds_for(feeder, request, payload, bytes, fds);

	send_message(feeder, request, need_reply, payload, bytes, fds, count);
	if (request == VHOST_USER_SET_BACKEND_REQ_FD && count)
		close(fds[0]);
}

static void tell_u64(struct feeder *feeder, uint32_t request, uint64_t word)
{
	tell(feeder, request, false, &word, sizeof(word));
}

static void tell_state(struct feeder *feeder, uint32_t request, uint32_t num)
{
	const struct vhost_user_vring_state state = {0, num};

	tell(feeder, request, false, &state, sizeof(state));
}

static void good_beginning(struct feeder *feeder)
{
	const bool platform = feeder->options & 2;
	const uint64_t base = platform ? BUS_BASE : USER_BASE;
	const struct vhost_user_memory table = {1, 0, {{PHYS_BASE, MEMORY_BYTES, USER_BASE, 0}}};
	const struct vhost_user_vring_addr addr = {
		.descriptor = base, .available = base + 0x1000, .used = base + 0x2000};
	uint64_t features = VIODMA_FEATURE(VIRTIO_F_VERSION_1_BIT) | VIODMA_FEATURE(VIRTIO_F_INDIRECT_DESC_BIT) |
			    VIODMA_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES_BIT);

	if (platform)
		features |= VIODMA_FEATURE(VIRTIO_F_ACCESS_PLATFORM_BIT);
	tell_u64(feeder, VHOST_USER_SET_PROTOCOL_FEATURES, 0x18228);
	tell(feeder, VHOST_USER_SET_BACKEND_REQ_FD, false, NULL, 0);
	tell_u64(feeder, VHOST_USER_SET_FEATURES, features);
	tell(feeder, VHOST_USER_SET_MEM_TABLE, false, &table, 8 + sizeof(table.regions[0]));
	tell_state(feeder, VHOST_USER_SET_VRING_NUM, RING_SIZE);
	tell_state(feeder, VHOST_USER_SET_VRING_BASE, 0);
	tell(feeder, VHOST_USER_SET_VRING_ADDR, false, &addr, sizeof(addr));
	tell_u64(feeder, VHOST_USER_SET_VRING_CALL, 0);
	tell_u64(feeder, VHOST_USER_SET_VRING_KICK, 0);
	tell_state(feeder, VHOST_USER_SET_VRING_ENABLE, 1);
}

/* One question of the back end: the page is granted if it lies in the memory. */
static void answer(struct feeder *feeder, bool truthfully, uint64_t word)
{
	struct {
		struct vhost_user_header header;
		unsigned char body[sizeof(struct vhost_user_iotlb)];
	} question;
	struct {
		unsigned char bytes[sizeof(struct vhost_user_header) + sizeof(uint64_t)];
	} reply;
	const struct vhost_user_header header = {VHOST_USER_BACKEND_IOTLB_MSG, VHOST_USER_VERSION | VHOST_USER_REPLY,
						 sizeof(word)};
	struct vhost_user_iotlb iotlb;

	if (feeder->channel < 0 ||
	    recv(feeder->channel, &question, sizeof(question), MSG_DONTWAIT) != (ssize_t)sizeof(question))
		return;
	memcpy(&iotlb, question.body, sizeof(iotlb));
	if (truthfully) {
		const uint64_t page = iotlb.iova & ~(uint64_t)4095;

		word = page < BUS_BASE || page - BUS_BASE >= MEMORY_BYTES;
		if (!word) {
			iotlb.user_address = USER_BASE + (page - BUS_BASE);
			iotlb.iova = page;
			iotlb.size = 4096;
			iotlb.type = VHOST_USER_IOTLB_UPDATE;
			tell(feeder, VHOST_USER_IOTLB_MSG, false, &iotlb, sizeof(iotlb));
		}
	}
	memcpy(reply.bytes, &header, sizeof(header));
	memcpy(reply.bytes + sizeof(header), &word, sizeof(word));
	send_bytes(feeder->channel, reply.bytes, sizeof(reply.bytes), NULL, 0);
}

static void one_step(struct feeder *feeder)
{
	const uint8_t what = next_byte(feeder);
	uint8_t bytes[256 + 16];
	size_t count;

	if (what < 48) {
		const uint8_t flags = next_byte(feeder);

		memset(bytes, 0, sizeof(bytes));
		count = next_byte(feeder);
		(void)next_bytes(feeder, bytes, count);
		tell(feeder, what, flags & 1, bytes, (uint32_t)count);
	} else if (what < 64) {
		const int fds[8] = {feeder->kick_fd, feeder->memory_fd, feeder->kick_fd, feeder->memory_fd,
				    feeder->socket, feeder->kick_fd, feeder->kick_fd, feeder->kick_fd};

		count = next_bytes(feeder, bytes, next_byte(feeder));
		send_bytes(feeder->socket, bytes, count, fds, what & 7);
	} else if (what < 128) {
		size_t offset = next_byte(feeder);

		offset = (offset | (size_t)next_byte(feeder) << 8) % (MEMORY_BYTES - 256);
		count = next_byte(feeder);
		(void)next_bytes(feeder, feeder->memory + offset, count);
	} else if (what < 192) {
		const uint64_t one = 1;

		(void)!write(feeder->kick_fd, &one, sizeof(one));
	} else {
		answer(feeder, false, what & 1);
	}
}

/* Nobody reads what the back end says, but it must find room to say it. */
static void drain(int fd)
{
	unsigned char bytes[1024];

	while (fd >= 0 && recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
}

static void step(void *context)
{
	struct feeder *feeder = context;

	drain(feeder->socket);
	if (feeder->options & 8)
		answer(feeder, true, 0);
	if (feeder->at < feeder->end && !viodma_vhost_user_finished(feeder->backend)) {
		one_step(feeder);
	} else if (feeder->idle < IDLE_ROUNDS) {
		feeder->idle++;
	} else if (!feeder->hung_up) {
		feeder->hung_up = true;
		feeder->idle = 0;
		shutdown(feeder->socket, SHUT_RDWR);
	} else if (viodma_vhost_user_finished(feeder->backend)) {
		viodma_loop_stop(feeder->loop);
	}
	viodma_loop_schedule(feeder->step);
}

static void run(struct feeder *feeder, int backend_end)
{
	const struct viodma_vhost_user_ops ops = {
		.process = process, .read_config = read_config, .fail_held = fail_held};
	const struct viodma_vhost_user_options options = {
		.name = "fuzz",
		.socket_fd = backend_end,
		.platform_dma = VIODMA_PLATFORM_DMA_OFFER,
		.queue_size_max = 64,
		.segments_max = 64,
		.request_bytes_max = 65536,
		.iotlb_entries = 512,
		.access = feeder->options & 4 ? VIODMA_ACCESS_COPY : VIODMA_ACCESS_PIN,
	};

	if (viodma_vhost_user_new(feeder->loop, &ops, NULL, &options, &feeder->backend) != VIODMA_OK) {
		close(backend_end);
		return;
	}
	if (viodma_loop_deferred(feeder->loop, step, feeder, &feeder->step) == VIODMA_OK) {
		if (feeder->options & 1)
			good_beginning(feeder);
		viodma_loop_schedule(feeder->step);
		viodma_loop_run(feeder->loop);
		viodma_loop_deferred_free(feeder->step);
	}
	if (viodma_vhost_user_free(feeder->backend) != VIODMA_OK)
		abort(); /* this device holds no requests */
}

int viodma_vhost_user_fuzz(const uint8_t *data, size_t bytes)
{
	struct feeder feeder = {.at = data, .end = data + bytes, .channel = -1};
	int pair[2];

	if (!bytes || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	feeder.options = next_byte(&feeder);
	feeder.socket = pair[0];
	feeder.memory_fd = memfd_create("fuzz", MFD_CLOEXEC);
	feeder.kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (feeder.memory_fd < 0 || feeder.kick_fd < 0 || ftruncate(feeder.memory_fd, MEMORY_BYTES) < 0)
		abort();
	feeder.memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, feeder.memory_fd, 0);
	if (feeder.memory == MAP_FAILED || viodma_loop_new(&feeder.loop) != VIODMA_OK)
		abort();
	if (feeder.options & 16)
		(void)next_bytes(&feeder, feeder.memory, 0x2000 + 256 < bytes / 2 ? 0x2000 + 256 : bytes / 2);
	run(&feeder, pair[1]);
	viodma_loop_free(feeder.loop);
	munmap(feeder.memory, MEMORY_BYTES);
	close(feeder.memory_fd);
	close(feeder.kick_fd);
	if (feeder.channel >= 0)
		close(feeder.channel);
	close(feeder.socket);
	return 0;
}
