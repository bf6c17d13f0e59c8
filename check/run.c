/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * run.c - how it works: one look at what the device offers, and at what a plain request brings; then case by case. Each has a
 * connection of its own, so that one that ends badly is not the next one's fault. A device that is gone after a case is that
 * case's verdict, and each case after it is not exercised.
 */
#include "check/command.h"
#include "check/device/types.h"

#include <viodma/feature.h>
#include <viodma/loop.h>

#include <stdlib.h>
#include <string.h>

#define BIT(n) (UINT64_C(1) << (n))
#define SILENT_MAX 2u
#define GONE "the device no longer answers"

static const struct check_type *const types[] = {&check_type_blk, &check_type_net, &check_type_rng, &check_type_fs};
#define TYPES (sizeof(types) / sizeof(types[0]))

const char *check_type_name(uint32_t n)
{
	return n < TYPES ? types[n]->name : NULL;
}

const struct check_type *check_type_named(const char *name, size_t length)
{
	for (size_t i = 0; i < TYPES; i++)
		if (strlen(types[i]->name) == length && !strncmp(types[i]->name, name, length))
			return types[i];
	return NULL;
}

/* ---- which cases ---- */

static bool each_case(bool (*visit)(void *context, const struct check_case *each), void *context)
{
	for (const struct check_case *const *list = check_device_cases; *list; list++)
		for (const struct check_case *each = *list; each->id; each++)
			if (!visit(context, each))
				return false;
	return true;
}

static bool names(const struct check_case *each, const char *word, size_t length)
{
	return (strlen(each->id) == length && !strncmp(each->id, word, length)) ||
	       (strlen(each->requirement) == length && !strncmp(each->requirement, word, length));
}

struct word {
	const char *word;
	size_t length;
};

static bool not_named(void *context, const struct check_case *each)
{
	const struct word *word = context;

	return !names(each, word->word, word->length);
}

static bool is_asked_for(const char *only, const struct check_case *each)
{
	for (const char *at = only; at && *at; at += strcspn(at, ","), at += *at == ',')
		if (names(each, at, strcspn(at, ",")))
			return true;
	return !only;
}

bool check_only_known(const char *only, const char **unknown, size_t *length)
{
	for (const char *at = only; *at; at += strcspn(at, ","), at += *at == ',') {
		struct word word = {at, strcspn(at, ",")};

		if (each_case(not_named, &word)) {
			*unknown = at;
			*length = word.length;
			return false;
		}
	}
	return true;
}

/* ---- what a case needs ---- */

static const char *lacks(const struct check_session *session, unsigned needs)
{
	const struct {
		unsigned need;
		bool there;
		const char *what;
	} all[] = {
		{CHECK_NEEDS_PLATFORM, session->offered & BIT(VIRTIO_F_ACCESS_PLATFORM_BIT), "bit 33 is not offered"},
		{CHECK_NEEDS_PLATFORM, check_session_has(session, VHOST_USER_PROTOCOL_F_BACKEND_REQ_BIT),
		 "there is no channel for misses (BACKEND_REQ)"},
		{CHECK_NEEDS_NO_PLATFORM, !(session->offered & BIT(VIRTIO_F_ACCESS_PLATFORM_BIT)), "bit 33 is offered"},
		{CHECK_NEEDS_INDIRECT, session->offered & BIT(VIRTIO_F_INDIRECT_DESC_BIT), "INDIRECT_DESC is not offered"},
		{CHECK_NEEDS_EVENT_IDX, session->offered & BIT(VIRTIO_F_EVENT_IDX_BIT), "EVENT_IDX is not offered"},
		{CHECK_NEEDS_IN_ORDER, session->offered & BIT(VIRTIO_F_IN_ORDER_BIT), "IN_ORDER is not offered"},
		{CHECK_NEEDS_REPLY_ACK, check_session_has(session, VHOST_USER_PROTOCOL_F_REPLY_ACK_BIT), "REPLY_ACK is not offered"},
		{CHECK_NEEDS_STATUS, check_session_has(session, VHOST_USER_PROTOCOL_F_STATUS_BIT), "STATUS is not offered"},
		{CHECK_NEEDS_MQ, session->queue_count > session->type->queue(1, CHECK_FROM_DEVICE), "there is one queue"},
		{CHECK_NEEDS_INFLIGHT, check_session_has(session, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD_BIT),
		 "INFLIGHT_SHMFD is not offered"},
		{CHECK_NEEDS_SLOTS, check_session_has(session, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS_BIT),
		 "CONFIGURE_MEM_SLOTS is not offered"},
		{CHECK_NEEDS_RESET_DEVICE, check_session_has(session, VHOST_USER_PROTOCOL_F_RESET_DEVICE_BIT),
		 "RESET_DEVICE is not offered"},
		{CHECK_NEEDS_CONFIG, check_session_has(session, VHOST_USER_PROTOCOL_F_CONFIG_BIT), "CONFIG is not offered"},
		{CHECK_NEEDS_FROM_DEVICE, session->type->from_device, "the device type writes no data"},
		{CHECK_NEEDS_TO_DEVICE, session->type->to_device && (session->options->writes || !session->type->keeps),
		 "it writes to the device, which was not allowed, or which the type cannot"},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if ((needs & all[i].need) && !all[i].there)
			return all[i].what;
	return NULL;
}

/* ---- one of them ---- */

struct run {
	const struct check_options *options;
	struct check_report *report;
	struct check_known known;
	uint32_t capacity, at, of;
	int first_fd;
	bool out_of_memory, gone;
	unsigned silent; /* cases, one after the other */
	bool look_was_silent, look_was_mute; /* a request, or a message, was not answered even then */
	char look_broke[200]; /* how the first look ended */
	const char *ring;
};

static struct check_outcome *add(struct run *run, const struct check_case *each, const char *ring)
{
	struct check_report *report = run->report;
	struct check_outcome *outcome;

	if (report->outcome_count == run->capacity) {
		const uint32_t capacity = run->capacity ? 2 * run->capacity : 64;
		struct check_outcome *more = realloc(report->outcomes, capacity * sizeof(*more));

		if (!more)
			return NULL;
		report->outcomes = more;
		run->capacity = capacity;
	}
	outcome = &report->outcomes[report->outcome_count];
	*outcome = (struct check_outcome){.played = each, .ring = ring};
	outcome->events = calloc(CHECK_EVENTS_MAX, sizeof(*outcome->events));
	if (!outcome->events)
		return NULL;
	report->outcome_count++;
	return outcome;
}

static struct check_session *new_session(struct run *run, const struct check_case *each, struct check_outcome *outcome)
{
	struct check_session *session = calloc(1, sizeof(*session));

	if (!session)
		return NULL;
	session->options = run->options;
	session->played = each;
	session->type = run->options->type;
	session->outcome = outcome;
	session->known = &run->known;
	session->began_ns = viodma_loop_now_ns();
	session->peer.fd = session->peer.channel_fd = -1;
	for (unsigned i = 0; i < CHECK_REGIONS; i++)
		session->memory.regions[i].fd = -1;
	return session;
}

static bool open_session(struct run *run, struct check_session *session)
{
	const int fd = run->first_fd;

	run->first_fd = -1;
	return check_session_open(session, fd);
}

/* ---- devices that are there no more ---- */

/* A wait was in vain: for an answer, or for a request. */
static bool is_silent(const struct check_session *session)
{
	return session->peer.state == CHECK_SILENT ||
	       viodma_loop_now_ns() - session->began_ns >= (uint64_t)session->options->timeout_ms * 1000000u;
}

static const char *broken(const struct check_session *session)
{
	return session->peer.broken[0] ? session->peer.broken : session->why;
}

/* Does it still serve a driver that asks for nothing special? A refusal is an answer. */
static bool still_answers(struct run *run)
{
	const struct check_setup plain = {.clear = true};
	struct check_outcome outcome = {.ring = "split"};
	struct check_session *session = new_session(run, NULL, &outcome);
	struct check_command command;
	bool answers;

	if (!session || run->look_was_silent) {
		free(session);
		return false;
	}
	check_command_start(&command, run->options->command);
	answers = open_session(run, session);
	if (answers && check_session_start(session, &plain))
		(void)check_device_works(session);
	answers = answers && !is_silent(session);
	check_session_close(session);
	free(session);
	check_command_end(&command);
	return answers;
}

/* A device that was silent in one case is in the next eighty as well: after a few it is asked once more, and left. */
static void count_silence(struct run *run, bool silent)
{
	run->silent = silent ? run->silent + 1 : 0;
	if (run->silent >= (run->look_was_mute ? 1 : SILENT_MAX)) {
		run->gone = !still_answers(run);
		run->silent = 0;
	}
}

/* The last case that was played is what the device did not survive. */
static struct check_outcome *last_played(const struct run *run)
{
	for (uint32_t i = run->report->outcome_count - 1; i-- > 0;)
		if (run->report->outcomes[i].verdict != CHECK_NOT_EXERCISED)
			return &run->report->outcomes[i];
	return NULL;
}

/* Nobody listens any more. */
static void not_there(struct run *run, struct check_session *session, struct check_command *command)
{
	struct check_outcome *last = last_played(run);
	char how[60] = "";

	run->gone = true;
	if (run->options->command) {
		(void)check_command_ended(command, how, sizeof(how));
		check_failed(session, "the command was run, and %.300s%s%s", broken(session), how[0] ? "; " : "", how);
	} else if (run->look_broke[0]) {
		check_failed(session, "a plain request was too much: %s; then %s", run->look_broke, broken(session));
	} else if (last) {
		if (last->verdict != CHECK_FAILED)
			snprintf(last->why, sizeof(last->why), "after it the device is not there any more: %.300s", broken(session));
		last->verdict = CHECK_FAILED;
		check_not_exercised(session, GONE);
	} else {
		run->report->could_not_run = true;
		snprintf(run->report->reason, sizeof(run->report->reason),
			 "after one connection %.300s; if it serves no more than one, --command runs it for each", broken(session));
		check_not_exercised(session, GONE);
	}
}

/* ---- one after the other ---- */

static void play_session(struct run *run, const struct check_case *each, struct check_session *session,
			 struct check_command *command)
{
	const char *lacking;

	if (!open_session(run, session)) {
		if (session->peer.fd < 0)
			not_there(run, session, command);
		else
			check_failed(session, "%s", broken(session));
	} else if ((lacking = lacks(session, each->needs)) != NULL) {
		check_not_exercised(session, "%s", lacking);
	} else {
		(void)each->play(session);
	}
}

/* False: out of memory. */
static bool play(struct run *run, const struct check_case *each, const char *ring)
{
	struct check_outcome *outcome = add(run, each, ring);
	struct check_session *session = outcome ? new_session(run, each, outcome) : NULL;
	struct check_command command;
	int died_of;
	bool silent;

	if (!session)
		return false;
	if (run->gone) {
		check_not_exercised(session, GONE);
		free(session);
		return true;
	}
	check_command_start(&command, run->options->command);
	session->command = &command;
	play_session(run, each, session, &command);
	outcome->ns = viodma_loop_now_ns() - session->began_ns;
	silent = outcome->verdict == CHECK_FAILED && is_silent(session);
	check_session_close(session);
	died_of = check_command_died(&command);
	if (died_of && outcome->verdict != CHECK_FAILED)
		check_failed(session, "the device's process died of signal %d (%s)", died_of, strsignal(died_of));
	free(session);
	check_command_end(&command);
	if (!run->gone)
		count_silence(run, silent);
	return true;
}

static bool play_all(void *context, const struct check_case *each)
{
	struct run *run = context;
	const bool split = each->needs & CHECK_NEEDS_RING;
	const bool packed = split && (run->report->features & BIT(VIRTIO_F_RING_PACKED_BIT));

	if (!is_asked_for(run->options->only, each))
		return true;
	if (run->options->progress)
		run->options->progress(run->options->context, each, run->at, run->of);
	run->at++;
	run->out_of_memory = !play(run, each, split ? "split" : "") || (packed && !play(run, each, "packed"));
	return !run->out_of_memory;
}

static bool count(void *context, const struct check_case *each)
{
	struct run *run = context;

	run->of += is_asked_for(run->options->only, each);
	return true;
}

/* It is no device at all. */
static void no_device(struct run *run, const struct check_session *session, struct check_command *command)
{
	struct check_report *report = run->report;
	char how[60] = "";
	const bool ended = check_command_ended(command, how, sizeof(how));

	report->could_not_run = true;
	if (session->peer.fd < 0)
		snprintf(report->reason, sizeof(report->reason), "%.300s%s%s", broken(session), ended ? "; the command: " : "", how);
	else
		snprintf(report->reason, sizeof(report->reason), "%.120s: %s%.300s", run->options->socket_path,
			 session->peer.state == CHECK_SILENT ? "" : "no vhost-user back end: ", broken(session));
}

/* What is offered, and what a device that is asked for nothing special answers. */
static bool look(struct run *run)
{
	const struct check_setup plain = {.clear = true};
	struct check_outcome outcome = {.ring = "split"};
	struct check_session *session = new_session(run, NULL, &outcome);
	struct check_command command;
	struct check_request request;

	if (!session)
		return false;
	check_command_start(&command, run->options->command);
	if (!open_session(run, session)) {
		no_device(run, session, &command);
	} else {
		run->report->features = session->offered;
		run->report->protocol_features = session->protocol_features;
		run->known.learning = true;
		if (session->type->from_device && check_session_start(session, &plain) &&
		    check_request_make(session, &request, CHECK_FROM_DEVICE, session->type->most_bytes))
			(void)check_request_works(session, &request);
		run->known.learning = false;
		run->look_was_silent = is_silent(session);
		run->look_was_mute = session->peer.state == CHECK_SILENT;
		snprintf(run->look_broke, sizeof(run->look_broke), "%s", session->peer.broken);
	}
	check_session_close(session);
	free(session);
	check_command_end(&command);
	return true;
}

bool check_device(const struct check_options *options, struct check_report *report)
{
	struct run *run = calloc(1, sizeof(*run));

	*report = (struct check_report){.peer = options->socket_path, .type = options->type->name};
	if (!run)
		return false;
	run->options = options;
	run->report = report;
	run->first_fd = options->socket_fd;
	run->out_of_memory = !look(run);
	if (!run->out_of_memory && !report->could_not_run) {
		each_case(count, run);
		each_case(play_all, run);
	}
	if (run->out_of_memory) {
		free(run);
		return false;
	}
	free(run);
	return true;
}

void check_report_free(struct check_report *report)
{
	for (uint32_t i = 0; i < report->outcome_count; i++)
		free(report->outcomes[i].events);
	free(report->outcomes);
	*report = (struct check_report){0};
}

enum check_verdict check_report_requirement(const struct check_report *report, const char *requirement)
{
	enum check_verdict verdict = CHECK_NOT_EXERCISED;

	for (uint32_t i = 0; i < report->outcome_count; i++)
		if (!strcmp(report->outcomes[i].played->requirement, requirement) && report->outcomes[i].verdict > verdict)
			verdict = report->outcomes[i].verdict;
	return verdict;
}

bool check_report_first(const struct check_report *report, uint32_t at)
{
	for (uint32_t i = 0; i < at; i++)
		if (!strcmp(report->outcomes[i].played->requirement, report->outcomes[at].played->requirement))
			return false;
	return true;
}
