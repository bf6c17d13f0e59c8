/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * outcome.c - verdicts, and the timeline: of a long case the beginning and the end are kept, and how much lies between.
 */
#include "check/device/session.h"

#include <viodma/loop.h>

#include <stdarg.h>
#include <string.h>

static const char *const names[CHECK_VERDICTS] = {
	[CHECK_NOT_EXERCISED] = "not exercised",
	[CHECK_OBSERVED] = "observation",
	[CHECK_PASSED] = "pass",
	[CHECK_FAILED] = "fail",
};

const char *check_verdict_name(enum check_verdict verdict)
{
	return names[verdict];
}

const char *check_case_id(const struct check_case *of)
{
	return of->id;
}

static enum check_verdict end(struct check_session *session, enum check_verdict verdict, const char *format, va_list arguments)
{
	session->outcome->verdict = verdict;
	vsnprintf(session->outcome->why, sizeof(session->outcome->why), format, arguments);
	check_event(session, CHECK_US, 0, 0, "%s", check_verdict_name(verdict));
	return verdict;
}

enum check_verdict check_passed(struct check_session *session)
{
	session->outcome->verdict = CHECK_PASSED;
	session->outcome->why[0] = '\0';
	return CHECK_PASSED;
}

#define ENDS(name, verdict)                                                                                           \
	enum check_verdict name(struct check_session *session, const char *format, ...)                              \
	{                                                                                                             \
		va_list arguments;                                                                                    \
                                                                                                                      \
		va_start(arguments, format);                                                                          \
		end(session, verdict, format, arguments);                                                             \
		va_end(arguments);                                                                                    \
		return verdict;                                                                                       \
	}
ENDS(check_failed, CHECK_FAILED)
ENDS(check_observed, CHECK_OBSERVED)
ENDS(check_not_exercised, CHECK_NOT_EXERCISED)

void check_event(struct check_session *session, enum check_side side, uint64_t bus, uint64_t bytes, const char *format, ...)
{
	struct check_outcome *outcome = session->outcome;
	struct check_event *event;
	va_list arguments;

	if (!outcome || !outcome->events)
		return;
	if (outcome->event_count == CHECK_EVENTS_MAX) {
		const uint32_t half = CHECK_EVENTS_MAX / 2;

		memmove(outcome->events + half, outcome->events + half + 1, (CHECK_EVENTS_MAX - half - 1) * sizeof(*event));
		outcome->event_count--;
		outcome->events_lost++;
	}
	event = &outcome->events[outcome->event_count++];
	*event = (struct check_event){viodma_loop_now_ns() - session->began_ns, side, CHECK_NO_MAPPING, bus, bytes, ""};
	va_start(arguments, format);
	vsnprintf(event->text, sizeof(event->text), format, arguments);
	va_end(arguments);
}

void check_event_mapping(struct check_session *session, enum check_mapping mapping)
{
	struct check_outcome *outcome = session->outcome;

	if (outcome && outcome->events && outcome->event_count)
		outcome->events[outcome->event_count - 1].mapping = mapping;
}
