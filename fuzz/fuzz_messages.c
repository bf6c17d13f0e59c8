/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_messages.c - a vhost-user front end made of the input, over a real socket pair: messages well formed and not,
 * memory and IOTLB, rings, kicks, replies to the back end's questions, in any order.
 *
 * How it works: the input is a sequence of operations (see `operation`). After each the back end's loop turns a few
 * times. The device behind it holds every third request back until an operation lets it go, so that revocations have to
 * wait. At the end the front end hangs up and the back end is freed: no request may be left, and as many descriptors
 * must be open as before.
 */
#include "fuzz/input.h"
#include "hosted/vhost_user/messages.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define MEMORY_BYTES (64u * 4096u)
#define BUS 0x7f0000000000u
#define USER 0x550000000000u
#define PHYS 0x40000000u
#define OPERATIONS 64u
#define RECORD_AT (24u * 4096u)

static struct viodma_loop *loop;
static struct viodma_loop_deferred *tick;
static unsigned ticks_left;
static struct viodma_vhost_user *backend;
static struct viodma_request *held[16];
static unsigned held_count, popped;
static int socket_fd, channel_fd, memory_fd, kick_fd, call_fd;
static unsigned char *memory;
static bool packed; /* what the front end accepted last */

/* ---- the device ---- */

static void finish(struct viodma_request *request)
{
	unsigned char byte = 7;

	if (request->writable_bytes && viodma_request_write(request, 0, &byte, 1) != VIODMA_OK)
		abort();
	viodma_queue_push(request->queue, request, request->writable_bytes);
}

static enum viodma_result process(void *device, struct viodma_queue *queue)
{
	struct viodma_request *request;
	enum viodma_result result;

	(void)device;
	for (unsigned i = 0; i < 16; i++) {
		result = viodma_queue_pop(queue, &request);
		if (result != VIODMA_OK)
			return result;
		if (request->result != VIODMA_OK)
			(void)(viodma_queue_reject(queue, request, "\1", 1) == VIODMA_OK);
		else if (popped++ % 3 == 2 && held_count < 16)
			held[held_count++] = request;
		else
			finish(request);
	}
	return VIODMA_OK;
}

static void fail_held(void *device, struct viodma_queue *queue)
{
	struct viodma_request *request;

	(void)device;
	while (viodma_queue_pop_held(queue, &request) == VIODMA_OK)
		(void)(viodma_queue_reject(queue, request, "\1", 1) == VIODMA_OK);
}

static uint64_t features(void *device)
{
	(void)device;
	return 0x244;
}

static enum viodma_result read_config(void *device, uint32_t offset, void *destination, uint32_t len)
{
	(void)device;
	if (offset > 96)
		return VIODMA_E_INVALID;
	memset(destination, 0x11, len);
	return VIODMA_OK;
}

static const struct viodma_vhost_user_ops ops = {
	.features = features, .read_config = read_config, .process = process, .fail_held = fail_held};

static void let_go(void)
{
	if (!held_count)
		return;
	while (held_count)
		finish(held[--held_count]);
	viodma_vhost_user_completed(backend);
}

/* ---- the loop ---- */

static void on_tick(void *context)
{
	(void)context;
	if (--ticks_left)
		viodma_loop_schedule(tick);
	else
		viodma_loop_stop(loop);
}

static void turn(void)
{
	static unsigned char sink[4096];

	ticks_left = 4;
	viodma_loop_schedule(tick);
	viodma_loop_run(loop);
	while (recv(socket_fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
		;
}

/* ---- the front end ---- */

static void send_message(uint32_t request, uint32_t flags, const void *payload, uint32_t announced, size_t bytes,
			 const int *fds, unsigned fd_count)
{
	struct vhost_user_header header = {request, flags, announced};
	struct iovec vectors[2] = {{&header, sizeof(header)}, {(void *)(uintptr_t)payload, bytes}};
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * 8)];
	} control;
	struct msghdr message = {.msg_iov = vectors, .msg_iovlen = 2};

	memset(&control, 0, sizeof(control));
	if (fd_count) {
		struct cmsghdr *each;

		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		each = CMSG_FIRSTHDR(&message);
		each->cmsg_level = SOL_SOCKET;
		each->cmsg_type = SCM_RIGHTS;
		each->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(each), fds, sizeof(int) * fd_count);
	}
	(void)(sendmsg(socket_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0);
	turn();
}

static void say(uint32_t request, const void *payload, uint32_t bytes, int fd)
{
	send_message(request, VHOST_USER_VERSION | VHOST_USER_NEED_REPLY, payload, bytes, bytes, &fd, fd >= 0);
}

static void say_u64(uint32_t request, uint64_t word, int fd)
{
	say(request, &word, sizeof(word), fd);
}

static void open_channel(void)
{
	int ends[2];

	if (channel_fd >= 0)
		close(channel_fd);
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
	channel_fd = ends[0];
	say(VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, ends[1]);
	close(ends[1]);
}

static void iotlb(uint8_t type, unsigned page, unsigned at, uint8_t permission)
{
	struct vhost_user_iotlb message = {.iova = BUS + page * 4096u, .size = 4096, .type = type,
					   .user_address = USER + at * 4096u, .permissions = permission};

	say(VHOST_USER_IOTLB_MSG, &message, sizeof(message), -1);
}

static void handshake(uint8_t options)
{
	struct vhost_user_memory table = {.num_regions = 1};
	uint64_t protocol = UINT64_C(1) << VHOST_USER_PROTOCOL_F_MQ_BIT | 1u << VHOST_USER_PROTOCOL_F_REPLY_ACK_BIT |
			    1u << VHOST_USER_PROTOCOL_F_BACKEND_REQ_BIT | 1u << VHOST_USER_PROTOCOL_F_CONFIG_BIT |
			    1u << VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS_BIT | 1u << VHOST_USER_PROTOCOL_F_STATUS_BIT |
			    1u << VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD_BIT | 1u << VHOST_USER_PROTOCOL_F_RESET_DEVICE_BIT;
	uint64_t accepted = VIODMA_FEATURE(32) | VIODMA_FEATURE(28) | VIODMA_FEATURE(30);

	if (options & 1)
		accepted |= VIODMA_FEATURE(33);
	if (options & 2)
		accepted |= VIODMA_FEATURE(29);
	packed = options & 64;
	if (packed)
		accepted |= VIODMA_FEATURE(34);
	say_u64(VHOST_USER_SET_PROTOCOL_FEATURES, protocol & backend->offered_protocol, -1);
	say_u64(VHOST_USER_SET_FEATURES, accepted, -1);
	open_channel();
	table.regions[0] = (struct vhost_user_region){PHYS, MEMORY_BYTES, USER, 0};
	say(VHOST_USER_SET_MEM_TABLE, &table, 8 + sizeof(table.regions[0]), memory_fd);
}

/* The in-flight region is the driver's memory, too: it changes as the input says. */
static void hand_over_record(void)
{
	const struct vhost_user_inflight inflight = {
		.mmap_size = 4096, .mmap_offset = RECORD_AT, .num_queues = 1, .queue_size = 16};

	say(VHOST_USER_SET_INFLIGHT_FD, &inflight, sizeof(inflight), memory_fd);
}

static void start_ring(uint8_t options)
{
	const uint64_t base = options & 1 ? BUS : USER;
	struct vhost_user_vring_state state = {0, 16};
	struct vhost_user_vring_addr addr = {
		.index = 0, .descriptor = base, .available = base + 4096, .used = base + 8192};

	if (options & 128)
		hand_over_record();
	say(VHOST_USER_SET_VRING_NUM, &state, sizeof(state), -1);
	say(VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), -1);
	state.num = packed ? VIODMA_QUEUE_PACKED_BASE : 0;
	say(VHOST_USER_SET_VRING_BASE, &state, sizeof(state), -1);
	say_u64(VHOST_USER_SET_VRING_CALL, 0, call_fd);
	say_u64(VHOST_USER_SET_VRING_KICK, 0, kick_fd);
	state.num = 1;
	say(VHOST_USER_SET_VRING_ENABLE, &state, sizeof(state), -1);
}

/* Answer the questions of the back end; granted, with a mapping first. */
static void answer_questions(bool granted)
{
	struct vhost_user_header header;
	struct vhost_user_iotlb body;
	unsigned char wire[sizeof(header) + sizeof(body)];

	for (unsigned n = 0; n < 64 && channel_fd >= 0; n++) {
		const uint64_t word = !granted;

		if (recv(channel_fd, &header, sizeof(header), MSG_DONTWAIT) != (ssize_t)sizeof(header))
			break;
		MUST(header.size <= sizeof(body) &&
		     recv(channel_fd, &body, header.size, MSG_DONTWAIT) == (ssize_t)header.size);
		MUST(header.request != VHOST_USER_BACKEND_IOTLB_MSG ||
		     (header.size == sizeof(body) && body.type == VHOST_USER_IOTLB_MISS));
		if (granted && header.request == VHOST_USER_BACKEND_IOTLB_MSG) {
			unsigned page = (unsigned)((body.iova - BUS) / 4096);

			iotlb(VHOST_USER_IOTLB_UPDATE, page % 80, page % 64, 3);
		}
		header = (struct vhost_user_header){header.request, VHOST_USER_VERSION | VHOST_USER_REPLY, sizeof(word)};
		memcpy(wire, &header, sizeof(header));
		memcpy(wire + sizeof(header), &word, sizeof(word));
		(void)(send(channel_fd, wire, sizeof(header) + sizeof(word), MSG_NOSIGNAL | MSG_DONTWAIT) < 0);
		turn();
	}
}

static void raw_message(struct input *input)
{
	unsigned char payload[512] = {0};
	uint8_t request = input_byte(input), options = input_byte(input), size = input_byte(input);
	const struct viodma_message_rule *rule = viodma_message_rule(request % 48);
	uint32_t bytes = size, flags = VHOST_USER_VERSION | (options & 1 ? VHOST_USER_NEED_REPLY : 0);
	unsigned fd_count = options >> 6;
	const int fds[] = {memory_fd, call_fd, kick_fd, memory_fd};

	/* Mostly the size that is due, so that what is behind the check of sizes is seen, too. */
	if (rule && !(options & 2))
		bytes = options & 4 ? rule->least_bytes : rule->most_bytes;
	if (rule && !(options & 8))
		fd_count = rule->least_fds;
	if (bytes > sizeof(payload))
		bytes = sizeof(payload);
	input_bytes(input, payload, bytes < 72 ? bytes : 72);
	if (options & 16)
		flags = input_byte(input);
	send_message(request % 48, flags, payload, options & 32 ? input_u32(input) : bytes, bytes, fds, fd_count);
}

static void operation(struct input *input)
{
	uint8_t code = input_byte(input), operand = input_byte(input);
	const uint64_t one = 1;

	switch (code % 10) {
	case 0:
	case 1:
		raw_message(input);
		break;
	case 2: { /* the driver writes; the two first pages are the ring's */
		unsigned at = (operand % 64u) * 64u + code / 10 * 4096u % MEMORY_BYTES;

		input_bytes(input, memory + at % (MEMORY_BYTES - 64), 32);
		break;
	}
	case 3:
		iotlb(VHOST_USER_IOTLB_UPDATE, operand % 64, code / 10 ? operand % 64 : 70, (uint8_t)(1 + operand % 3));
		break;
	case 4:
		iotlb(VHOST_USER_IOTLB_INVALIDATE, operand % 64, 0, 0);
		break;
	case 5:
		(void)(write(kick_fd, &one, sizeof(one)) < 0);
		turn();
		break;
	case 6:
		let_go();
		turn();
		break;
	case 7:
		start_ring(operand);
		break;
	case 8:
		answer_questions(operand & 1);
		break;
	default:
		handshake(operand);
		break;
	}
}

static int lowest_free_fd(void)
{
	int fd = dup(0);

	MUST(fd >= 0);
	close(fd);
	return fd;
}

static void set_up_once(void)
{
	if (loop)
		return;
	MUST(viodma_loop_new(&loop) == VIODMA_OK);
	MUST(viodma_loop_deferred(loop, on_tick, NULL, &tick) == VIODMA_OK);
	memory_fd = memfd_create("fuzz", MFD_CLOEXEC);
	MUST(memory_fd >= 0 && ftruncate(memory_fd, MEMORY_BYTES) == 0);
	memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
	MUST(memory != MAP_FAILED);
	kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	MUST(kick_fd >= 0 && call_fd >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	uint8_t options = input_byte(&input);
	struct viodma_vhost_user_options set = {
		.queue_size_max = 16,
		.segments_max = 16,
		.request_bytes_max = 65536,
		.iotlb_entries = 128,
		.access = options & 4 ? VIODMA_ACCESS_COPY : VIODMA_ACCESS_PIN,
		.platform_dma = options & 8 ? VIODMA_PLATFORM_DMA_REQUIRE : VIODMA_PLATFORM_DMA_OFFER,
	};
	int ends[2], free_before;
	unsigned n;

	set_up_once();
	free_before = lowest_free_fd();
	memset(memory, 0, MEMORY_BYTES);
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
	socket_fd = ends[0];
	channel_fd = -1;
	held_count = popped = 0;
	packed = false;
	set.socket_fd = ends[1];
	MUST(viodma_vhost_user_new(loop, &ops, NULL, &set, &backend) == VIODMA_OK);
	if (options & 16)
		handshake(options);
	if (options & 32)
		start_ring(options);
	for (n = 0; n < OPERATIONS && input.left; n++)
		operation(&input);
	close(socket_fd);
	if (channel_fd >= 0)
		close(channel_fd);
	ticks_left = 4;
	viodma_loop_schedule(tick);
	viodma_loop_run(loop);
	let_go();
	ticks_left = 4;
	viodma_loop_schedule(tick);
	viodma_loop_run(loop);
	MUST(!viodma_vhost_user_connected(backend));
	MUST(viodma_vhost_user_free(backend) == VIODMA_OK);
	MUST(lowest_free_fd() == free_before);
	return 0;
}
