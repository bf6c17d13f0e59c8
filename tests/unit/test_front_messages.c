/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_front_messages.c - whatever a back end answers, or does not, each call of the front end ends in time, in the result
 * that names it, and leaves no descriptor behind.
 *
 * How it works: a whole conversation (connect, share, negotiate, configuration, a queue, a grant, a reset, unshare) is held
 * with a scripted back end in a child process, once for each kind of message and each lie about its answer. No ring runs.
 * Then the same with the Nth allocation, and the Nth descriptor, refused by the system.
 */
#include "hosted/front/front.h"

#include "tests/support/check.h"
#include "tests/support/front_peer.h"
#include "tests/support/front_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHORT_MS 40u
#define LONG_MS 5000u

/* ---- allocations that fail: the linker leads here (meson.build) ---- */

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);

static unsigned allocations, fail_allocation; /* 0: none fails */

static bool refused(void)
{
	return fail_allocation && ++allocations == fail_allocation;
}

void *__wrap_malloc(size_t bytes)
{
	return refused() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
	return refused() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *memory, size_t bytes)
{
	return refused() ? NULL : __real_realloc(memory, bytes);
}

/* ---- the conversation ---- */

static char logged[512];
static uint64_t linger_ns; /* how long to wait at the end for what may come unasked */

static void keep_line(void *context, const char *line)
{
	(void)context;
	snprintf(logged, sizeof(logged), "%s", line);
}

static enum viodma_result use(struct front_rig *rig)
{
	void *context = rig->transport->context;
	const struct viodma_transport_ops *ops = rig->transport->ops;
	unsigned char config[8] = {0};
	bool platform = false;
	enum viodma_result result = viodma_front_share(rig->front, &rig->memory);

	if (result == VIODMA_OK)
		result = rig_negotiate(rig, RIG_WANTED, &platform);
	if (result == VIODMA_OK)
		result = ops->read_config(context, 2, config, sizeof(config));
	if (result == VIODMA_OK && config[0] != VHOST_USER_CONFIG_HEADER_BYTES + 2)
		result = VIODMA_E_MISUSE; /* the wrong bytes */
	if (result == VIODMA_OK)
		result = ops->write_config(context, 32, config, 1);
	if (result == VIODMA_OK)
		result = viodma_front_grant(rig->front, rig_bus(rig, 0), (viodma_phys){RIG_PHYS}, RIG_BYTES,
					    VIODMA_READ_WRITE, true);
	if (result == VIODMA_OK)
		result = rig_start(rig);
	if (result == VIODMA_OK)
		result = ops->set_status(context, 0);
	if (result == VIODMA_OK)
		result = viodma_front_withdraw_all(rig->front);
	if (result == VIODMA_OK)
		result = viodma_front_unshare(rig->front, (viodma_phys){RIG_PHYS});
	if (result == VIODMA_OK)
		result = viodma_front_wait(rig->front, viodma_loop_now_ns() + linger_ns);
	return result == VIODMA_E_TIMEOUT && rig->front->broken == VIODMA_OK ? VIODMA_OK : result;
}

/* All of it with what is at the other end of fd, which is used up. *broken: what later calls answer. */
static enum viodma_result converse(int fd, uint32_t timeout_ms, enum viodma_result *broken)
{
	const struct viodma_front_options options = {
		.name = "test", .socket_fd = fd, .timeout_ms = timeout_ms, .log = keep_line};
	struct front_rig rig = {0};
	uint8_t status;
	enum viodma_result result = viodma_front_memory_new(RIG_BYTES, (viodma_phys){RIG_PHYS}, &rig.memory);

	*broken = VIODMA_OK;
	if (result != VIODMA_OK) {
		close(fd);
		return result;
	}
	result = viodma_front_connect(&options, &rig.front);
	if (result == VIODMA_OK) {
		rig.transport = viodma_front_transport(rig.front);
		result = use(&rig);
		*broken = rig.front->broken;
		if (*broken != VIODMA_OK && rig.transport->ops->get_status(rig.transport->context, &status) != *broken)
			result = VIODMA_RESULT_LEAST;
		viodma_front_free(rig.front);
	} else {
		close(fd);
	}
	viodma_front_memory_free(&rig.memory);
	return result;
}

/* A back end in a child process; the front end's descriptor. */
static int start_child(const struct front_peer *script, pid_t *child)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	*child = fork();
	if (*child == 0) {
		struct front_peer peer = *script;

		peer.fd = pair[1];
		close(pair[0]);
		front_peer_serve(&peer);
		_exit(0);
	}
	close(pair[1]);
	return pair[0];
}

static bool end_child(pid_t child)
{
	int status = 1;

	return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool conversation_ends_with(const struct front_peer *script, uint32_t timeout_ms, enum viodma_result expected)
{
	const unsigned before = front_peer_descriptors();
	const uint64_t began_ns = viodma_loop_now_ns();
	enum viodma_result broken;
	pid_t child;
	int fd = start_child(script, &child);

	if (fd < 0)
		return check_note(__FILE__, __LINE__, "no child: %s", strerror(errno));
	logged[0] = '\0';
	if (converse(fd, timeout_ms, &broken) != expected)
		return check_note(__FILE__, __LINE__, "lie %d about answer %u to message %u: not %s, but broken %s: %s",
				  (int)script->lie, script->lie_nth, script->lie_request, viodma_result_name(expected),
				  viodma_result_name(broken), logged);
	CHECK(viodma_loop_now_ns() - began_ns < UINT64_C(4000000000));
	CHECK(end_child(child));
	CHECK_EQUAL(front_peer_descriptors(), before);
	return true;
}

/* ---- sound back ends ---- */

static bool every_kind_of_sound_back_end_can_be_talked_to(void)
{
	const uint64_t optional[] = {PEER_PROTOCOL_BIT(MQ), PEER_PROTOCOL_BIT(CONFIGURE_MEM_SLOTS), PEER_PROTOCOL_BIT(STATUS),
				     PEER_PROTOCOL_BIT(BACKEND_REQ)};

	for (unsigned set = 0; set < 32; set++) {
		struct front_peer script;

		front_peer_init(&script, -1);
		for (unsigned i = 0; i < 4; i++)
			if (set >> i & 1)
				script.protocol_features &= ~optional[i];
		if (set & 16)
			script.protocol_features |= PEER_PROTOCOL_BIT(RESET_DEVICE) | ~(UINT64_MAX >> 8);
		if (!conversation_ends_with(&script, LONG_MS, VIODMA_OK))
			return false;
	}
	return true;
}
HOLDS(every_kind_of_sound_back_end_can_be_talked_to)

static bool without_acknowledgements_everything_but_a_revocation_works(void)
{
	struct front_peer script;

	front_peer_init(&script, -1);
	script.protocol_features &= ~PEER_PROTOCOL_BIT(REPLY_ACK);
	if (!conversation_ends_with(&script, LONG_MS, VIODMA_E_UNSUPPORTED))
		return false;
	CHECK(strstr(logged, "PLT-5"));
	return true;
}
HOLDS(without_acknowledgements_everything_but_a_revocation_works)

static bool without_protocol_features_there_is_no_configuration(void)
{
	struct front_peer script;

	front_peer_init(&script, -1);
	script.features &= ~VIODMA_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES_BIT);
	return conversation_ends_with(&script, LONG_MS, VIODMA_E_UNSUPPORTED);
}
HOLDS(without_protocol_features_there_is_no_configuration)

/* ---- lies ---- */

/* The nth of these messages is one over which a back end says that it refuses features. */
static bool negotiates(uint32_t request, unsigned nth)
{
	return request == VHOST_USER_SET_FEATURES || (request == VHOST_USER_SET_STATUS && nth == 2);
}

static bool is_question(uint32_t request)
{
	return request == VHOST_USER_GET_FEATURES || request == VHOST_USER_GET_PROTOCOL_FEATURES ||
	       request == VHOST_USER_GET_QUEUE_NUM || request == VHOST_USER_GET_VRING_BASE ||
	       request == VHOST_USER_GET_CONFIG || request == VHOST_USER_GET_MAX_MEM_SLOTS ||
	       request == VHOST_USER_GET_STATUS;
}

static enum viodma_result outcome_of(enum front_peer_lie lie, uint32_t request, unsigned nth)
{
	switch (lie) {
	case LIE_NONE:
	case LIE_TRICKLE:
		return VIODMA_OK;
	case LIE_NACK:
		return negotiates(request, nth) ? VIODMA_PEER_FEATURES : VIODMA_E_IO;
	case LIE_HALF:
	case LIE_HANG_UP:
		return negotiates(request, nth) ? VIODMA_PEER_FEATURES : VIODMA_PEER_GONE;
	case LIE_SILENCE:
	case LIE_FLOOD:
	case LIE_DEAF:
		return VIODMA_E_TIMEOUT;
	default:
		return VIODMA_PEER_MESSAGE;
	}
}

static bool patient(enum front_peer_lie lie)
{
	return outcome_of(lie, 0, 0) != VIODMA_E_TIMEOUT;
}

static const struct {
	uint32_t request;
	unsigned nth;
} answered[] = {
	{VHOST_USER_GET_FEATURES, 0},     {VHOST_USER_GET_FEATURES, 1},     {VHOST_USER_GET_PROTOCOL_FEATURES, 0},
	{VHOST_USER_SET_OWNER, 0},        {VHOST_USER_GET_QUEUE_NUM, 0},    {VHOST_USER_GET_MAX_MEM_SLOTS, 0},
	{VHOST_USER_SET_BACKEND_REQ_FD, 0}, {VHOST_USER_ADD_MEM_REG, 0},    {VHOST_USER_SET_STATUS, 0},
	{VHOST_USER_GET_STATUS, 0},       {VHOST_USER_SET_FEATURES, 0},     {VHOST_USER_SET_STATUS, 2},
	{VHOST_USER_GET_CONFIG, 0},       {VHOST_USER_SET_CONFIG, 0},       {VHOST_USER_IOTLB_MSG, 0},
	{VHOST_USER_SET_VRING_NUM, 0},    {VHOST_USER_SET_VRING_BASE, 0},   {VHOST_USER_SET_VRING_ADDR, 0},
	{VHOST_USER_SET_VRING_ERR, 0},    {VHOST_USER_SET_VRING_CALL, 0},   {VHOST_USER_SET_VRING_KICK, 0},
	{VHOST_USER_SET_VRING_ENABLE, 0}, {VHOST_USER_SET_STATUS, 3},       {VHOST_USER_GET_VRING_BASE, 0},
	{VHOST_USER_IOTLB_MSG, 1},        {VHOST_USER_SET_STATUS, 4},       {VHOST_USER_REM_MEM_REG, 0},
};

static bool lie_about_everything(enum front_peer_lie lie)
{
	for (size_t i = 0; i < sizeof(answered) / sizeof(answered[0]); i++) {
		struct front_peer script;

		if (lie == LIE_NACK && is_question(answered[i].request))
			continue; /* an answer like any other */
		front_peer_init(&script, -1);
		script.lie = lie;
		script.lie_request = answered[i].request;
		script.lie_nth = answered[i].nth;
		if (!conversation_ends_with(&script, patient(lie) ? LONG_MS : SHORT_MS,
					    outcome_of(lie, answered[i].request, answered[i].nth)))
			return false;
	}
	return true;
}

static bool an_answer_that_is_not_due_ends_the_connection(void)
{
	bool held;

	for (int lie = LIE_OTHER_REQUEST; lie < LIE_TRICKLE; lie++)
		if (!lie_about_everything((enum front_peer_lie)lie))
			return false;
	linger_ns = RIG_PATIENCE_NS;
	held = lie_about_everything(LIE_TWICE);
	linger_ns = 0;
	return held;
}
BEHAVIOUR(an_answer_that_is_not_due_ends_the_connection, "PLT-9")

static bool an_answer_may_come_byte_by_byte(void)
{
	return lie_about_everything(LIE_TRICKLE);
}
HOLDS(an_answer_may_come_byte_by_byte)

static bool a_refusal_is_told(void)
{
	return lie_about_everything(LIE_NACK);
}
HOLDS(a_refusal_is_told)

static bool a_back_end_that_hangs_up_has_gone_or_refuses_features(void)
{
	return lie_about_everything(LIE_HALF) && lie_about_everything(LIE_HANG_UP);
}
HOLDS(a_back_end_that_hangs_up_has_gone_or_refuses_features)

static bool nothing_is_waited_for_longer_than_said(void)
{
	return lie_about_everything(LIE_SILENCE) && lie_about_everything(LIE_FLOOD) && lie_about_everything(LIE_DEAF);
}
HOLDS(nothing_is_waited_for_longer_than_said)

/* ---- the system's refusals ---- */

static bool every_allocation_may_fail(void)
{
	enum viodma_result result;
	unsigned n = 0, failed = 0;

	do {
		struct front_peer script;
		enum viodma_result broken;
		const unsigned before = front_peer_descriptors();
		pid_t child;
		int fd;

		front_peer_init(&script, -1);
		fd = start_child(&script, &child);
		CHECK(fd >= 0);
		allocations = 0;
		fail_allocation = ++n;
		result = converse(fd, LONG_MS, &broken);
		failed = allocations >= n;
		fail_allocation = 0;
		CHECK_RESULT(result, failed ? VIODMA_E_NO_MEMORY : VIODMA_OK);
		CHECK_RESULT(broken, VIODMA_OK);
		CHECK(end_child(child));
		CHECK_EQUAL(front_peer_descriptors(), before);
	} while (failed && n < 100);
	CHECK(n > 4 && n < 100);
	return true;
}
HOLDS(every_allocation_may_fail)

static bool every_descriptor_may_be_refused(void)
{
	struct rlimit was;
	enum viodma_result result = VIODMA_E_IO;
	unsigned n;

	CHECK(getrlimit(RLIMIT_NOFILE, &was) == 0);
	for (n = 0; n < 64 && result != VIODMA_OK; n++) {
		struct front_peer script;
		struct rlimit now = was;
		enum viodma_result broken;
		const unsigned before = front_peer_descriptors();
		pid_t child;
		int fd;

		front_peer_init(&script, -1);
		fd = start_child(&script, &child);
		CHECK(fd >= 0);
		now.rlim_cur = (rlim_t)fd + 1 + n;
		CHECK(setrlimit(RLIMIT_NOFILE, &now) == 0);
		result = converse(fd, LONG_MS, &broken);
		CHECK(setrlimit(RLIMIT_NOFILE, &was) == 0);
		CHECK(result == VIODMA_OK || result == VIODMA_E_IO);
		CHECK_RESULT(broken, VIODMA_OK);
		CHECK(end_child(child));
		CHECK_EQUAL(front_peer_descriptors(), before);
	}
	CHECK(n > 6 && n < 64);
	return true;
}
HOLDS(every_descriptor_may_be_refused)

/* ---- what comes unasked ---- */

static const struct question {
	struct vhost_user_header header;
	struct vhost_user_iotlb iotlb;
	uint32_t bytes;
	unsigned fd_count;
} wrong_questions[] = {
	{{3, 1, 0}, {0}, 0, 0},
	{{0, 1, 0}, {0}, 0, 0},
	{{1, 1, 31}, {.type = 1, .permissions = 1}, 31, 0},
	{{1, 1, 40}, {.type = 1, .permissions = 1}, 32, 0},
	{{1, 1, UINT32_MAX}, {.type = 1, .permissions = 1}, 32, 0},
	{{1, 5, 32}, {.type = 1, .permissions = 1}, 32, 0},
	{{1, 2, 32}, {.type = 1, .permissions = 1}, 32, 0},
	{{1, 17, 32}, {.type = 1, .permissions = 1}, 32, 0},
	{{1, 1, 32}, {.type = 2, .permissions = 1}, 32, 0},
	{{1, 1, 32}, {.type = 3, .permissions = 1}, 32, 0},
	{{1, 1, 32}, {.type = 0, .permissions = 1}, 32, 0},
	{{1, 1, 32}, {.type = 1, .permissions = 0}, 32, 0},
	{{1, 1, 32}, {.type = 1, .permissions = 4}, 32, 0},
	{{1, 1, 32}, {.type = 1, .permissions = 1}, 32, 3},
	{{2, 1, 8}, {.type = 1, .permissions = 1}, 8, 0},
};

static const struct question *next_question;

/* Asks instead of answering. */
static bool ask_wrongly(struct front_peer *peer, const struct front_peer_message *message)
{
	const int fds[3] = {peer->fd, peer->fd, peer->fd};

	if (message->header.request != VHOST_USER_GET_STATUS)
		return false;
	return front_peer_ask_raw(peer, &next_question->header, &next_question->iotlb, next_question->bytes, fds,
				  next_question->fd_count);
}

static bool a_malformed_question_ends_the_connection(void)
{
	for (size_t i = 0; i < sizeof(wrong_questions) / sizeof(wrong_questions[0]); i++) {
		struct front_peer script;

		next_question = &wrong_questions[i];
		front_peer_init(&script, -1);
		script.hook = ask_wrongly;
		if (!conversation_ends_with(&script, 1000, VIODMA_PEER_MESSAGE))
			return false;
	}
	return true;
}
BEHAVIOUR(a_malformed_question_ends_the_connection, "PLT-9")

static bool close_the_channel(struct front_peer *peer, const struct front_peer_message *message)
{
	if (message->header.request != VHOST_USER_GET_STATUS)
		return false;
	close(peer->channel);
	peer->channel = -1;
	return true;
}

static bool a_channel_that_is_closed_is_a_back_end_that_has_gone(void)
{
	struct front_peer script;

	front_peer_init(&script, -1);
	script.hook = close_the_channel;
	return conversation_ends_with(&script, LONG_MS, VIODMA_PEER_GONE);
}
HOLDS(a_channel_that_is_closed_is_a_back_end_that_has_gone)

static bool say_something(struct front_peer *peer, const struct front_peer_message *message)
{
	const uint64_t word = 0;

	if (message->header.request == VHOST_USER_REM_MEM_REG)
		(void)front_peer_ack(peer, message, 0);
	return message->header.request == VHOST_USER_REM_MEM_REG &&
	       front_peer_reply(peer, VHOST_USER_GET_STATUS, &word, sizeof(word));
}

static bool a_message_nobody_asked_for_ends_the_connection(void)
{
	struct front_peer script;
	bool held;

	front_peer_init(&script, -1);
	script.hook = say_something;
	linger_ns = RIG_PATIENCE_NS / 5;
	held = conversation_ends_with(&script, LONG_MS, VIODMA_PEER_MESSAGE);
	linger_ns = 0;
	return held;
}
BEHAVIOUR(a_message_nobody_asked_for_ends_the_connection, "PLT-9")

static bool answer_status_with_more(struct front_peer *peer, const struct front_peer_message *message)
{
	const uint64_t word = 0x100;

	return message->header.request == VHOST_USER_GET_STATUS &&
	       front_peer_reply(peer, VHOST_USER_GET_STATUS, &word, sizeof(word));
}

static bool a_status_has_eight_bits(void)
{
	struct front_peer script;

	front_peer_init(&script, -1);
	script.hook = answer_status_with_more;
	return conversation_ends_with(&script, LONG_MS, VIODMA_PEER_ANSWER);
}
BEHAVIOUR(a_status_has_eight_bits, "DEV-22")

static bool answer_for_another_ring(struct front_peer *peer, const struct front_peer_message *message)
{
	const struct vhost_user_vring_state state = {1, 0};

	return message->header.request == VHOST_USER_GET_VRING_BASE &&
	       front_peer_reply(peer, VHOST_USER_GET_VRING_BASE, &state, sizeof(state));
}

static bool a_ring_is_stopped_by_its_own_answer(void)
{
	struct front_peer script;

	front_peer_init(&script, -1);
	script.hook = answer_for_another_ring;
	return conversation_ends_with(&script, LONG_MS, VIODMA_PEER_MESSAGE);
}
HOLDS(a_ring_is_stopped_by_its_own_answer)

static bool answer_other_configuration(struct front_peer *peer, const struct front_peer_message *message)
{
	struct vhost_user_config config = message->payload.config;

	config.offset = 4;
	return message->header.request == VHOST_USER_GET_CONFIG &&
	       front_peer_reply(peer, VHOST_USER_GET_CONFIG, &config, message->header.size);
}

static bool answer_no_configuration(struct front_peer *peer, const struct front_peer_message *message)
{
	return message->header.request == VHOST_USER_GET_CONFIG && front_peer_reply(peer, VHOST_USER_GET_CONFIG, "", 0);
}

static bool configuration_is_what_was_asked_for_or_not_there(void)
{
	struct front_peer script;

	front_peer_init(&script, -1);
	script.hook = answer_other_configuration;
	if (!conversation_ends_with(&script, LONG_MS, VIODMA_PEER_MESSAGE))
		return false;
	script.hook = answer_no_configuration;
	return conversation_ends_with(&script, LONG_MS, VIODMA_E_UNSUPPORTED);
}
HOLDS(configuration_is_what_was_asked_for_or_not_there)

/* ---- noise ---- */

static struct check_random noise;
static unsigned noisy_from; /* the message from which on there is noise */

/* Some bytes, which often begin well, on either socket; now and then with descriptors. */
static bool make_noise(struct front_peer *peer, const struct front_peer_message *message)
{
	const uint32_t request = message->header.request;
	unsigned char bytes[96];
	struct vhost_user_header header = {check_below(&noise, 3) ? request : (uint32_t)check_below(&noise, 50),
					   check_below(&noise, 3) ? 5 : (uint32_t)check_below(&noise, 64),
					   check_below(&noise, 3) ? 8 : (uint32_t)check_below(&noise, 300)};
	const int fds[2] = {peer->fd, peer->fd};
	uint32_t len_bytes = (uint32_t)check_below(&noise, sizeof(bytes));

	if (++peer->count[0] < noisy_from || check_below(&noise, 4) == 0)
		return false;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)check_below(&noise, 3);
	if (peer->channel >= 0 && check_below(&noise, 2)) {
		header.request = 1 + (uint32_t)check_below(&noise, 2);
		header.flags = check_below(&noise, 8) ? 1 | 8 * (uint32_t)check_below(&noise, 2) : 5;
		header.size = header.request == 1 ? 32 : 0;
		len_bytes = check_below(&noise, 4) ? header.size : len_bytes;
		return front_peer_ask_raw(peer, &header, bytes, len_bytes, fds, check_below(&noise, 8) ? 0 : 2) &&
		       check_below(&noise, 4) == 0;
	}
	return front_peer_reply_raw(peer, &header, bytes, check_below(&noise, 2) ? 8 : len_bytes, fds,
				    check_below(&noise, 8) ? 0 : 2);
}

static bool noise_ends_in_some_result_in_time(void)
{
	for (unsigned seed = 1; seed <= 300; seed++) {
		const unsigned before = front_peer_descriptors();
		const uint64_t began_ns = viodma_loop_now_ns();
		struct front_peer script;
		enum viodma_result broken, result;
		pid_t child;
		int fd;

		noise.state = seed * UINT64_C(0x9e3779b97f4a7c15);
		noisy_from = 1 + seed % 40;
		front_peer_init(&script, -1);
		script.hook = make_noise;
		fd = start_child(&script, &child);
		CHECK(fd >= 0);
		result = converse(fd, SHORT_MS / 4, &broken);
		CHECK(result != VIODMA_RESULT_LEAST); /* it broke, and went on */
		CHECK(broken == VIODMA_OK || viodma_result_is_peer(broken) || broken == VIODMA_E_TIMEOUT);
		CHECK(viodma_loop_now_ns() - began_ns < UINT64_C(4000000000));
		CHECK(end_child(child));
		CHECK_EQUAL(front_peer_descriptors(), before);
	}
	return true;
}
HOLDS(noise_ends_in_some_result_in_time)

/* ---- connecting ---- */

static bool a_socket_that_is_none_is_refused(void)
{
	struct viodma_front_options options = {.log = keep_line};
	char path[200];
	struct viodma_front *front;
	int fd;

	CHECK_RESULT(viodma_front_connect(&options, &front), VIODMA_E_INVALID);
	CHECK(strstr(logged, "socket_path is NULL and socket_fd 0"));
	fd = open("/dev/null", O_RDWR);
	options.socket_fd = fd;
	CHECK_RESULT(viodma_front_connect(&options, &front), VIODMA_E_INVALID);
	CHECK(fcntl(fd, F_GETFD) >= 0); /* still ours */
	close(fd);
	options.socket_fd = fd = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK_RESULT(viodma_front_connect(&options, &front), VIODMA_E_INVALID);
	close(fd);
	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	options.socket_path = path;
	CHECK_RESULT(viodma_front_connect(&options, &front), VIODMA_E_INVALID);
	options.socket_path = "/nonexistent/socket";
	CHECK_RESULT(viodma_front_connect(&options, &front), VIODMA_E_IO);
	CHECK(strstr(logged, strerror(ENOENT)));
	options.queue_size_max = 1000;
	CHECK_RESULT(viodma_front_connect(&options, &front), VIODMA_E_INVALID);
	CHECK(strstr(logged, "queue_size_max is 1000"));
	viodma_front_free(NULL);
	return true;
}
HOLDS(a_socket_that_is_none_is_refused)

static bool a_socket_nobody_accepts_from_is_given_up(void)
{
	struct viodma_front_options options = {.timeout_ms = SHORT_MS, .log = keep_line};
	const unsigned before = front_peer_descriptors();
	struct viodma_front *front;
	int pair[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	options.socket_fd = pair[0];
	CHECK_RESULT(viodma_front_connect(&options, &front), VIODMA_E_TIMEOUT);
	close(pair[0]);
	close(pair[1]);
	CHECK_EQUAL(front_peer_descriptors(), before);
	return true;
}
HOLDS(a_socket_nobody_accepts_from_is_given_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_kind_of_sound_back_end_can_be_talked_to),
		TEST(without_acknowledgements_everything_but_a_revocation_works),
		TEST(without_protocol_features_there_is_no_configuration),
		WITH_MUTANT(an_answer_that_is_not_due_ends_the_connection),
		TEST(an_answer_may_come_byte_by_byte),
		TEST(a_refusal_is_told),
		TEST(a_back_end_that_hangs_up_has_gone_or_refuses_features),
		TEST(nothing_is_waited_for_longer_than_said),
		TEST(every_allocation_may_fail),
		TEST(every_descriptor_may_be_refused),
		WITH_MUTANT(a_malformed_question_ends_the_connection),
		TEST(a_channel_that_is_closed_is_a_back_end_that_has_gone),
		WITH_MUTANT(a_message_nobody_asked_for_ends_the_connection),
		WITH_MUTANT(a_status_has_eight_bits),
		TEST(a_ring_is_stopped_by_its_own_answer),
		TEST(configuration_is_what_was_asked_for_or_not_there),
		TEST(noise_ends_in_some_result_in_time),
		TEST(a_socket_that_is_none_is_refused),
		TEST(a_socket_nobody_accepts_from_is_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
