/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * case.h - a case: one thing that a device might get wrong. Its function plays it in a session, and ends with a verdict:
 *
 *	return check_failed(session, "...", what was wrong, with its address and bytes);
 *	return check_passed(session);
 *
 * A case passes only if it has seen that the rule was kept, not because nothing was seen. It is played over a connection of
 * its own, once for each ring layout the device offers if it needs rings.
 */
#ifndef VIODMA_CHECK_CASE_H
#define VIODMA_CHECK_CASE_H

#include "check/check.h"

struct check_session;

/* What a case needs; where it is not there, the case is not exercised, and says so. */
#define CHECK_NEEDS_RING (1u << 0)        /* played for each layout */
#define CHECK_NEEDS_PLATFORM (1u << 1)    /* bit 33, and a channel for misses */
#define CHECK_NEEDS_NO_PLATFORM (1u << 2) /* bit 33 is not offered */
#define CHECK_NEEDS_INDIRECT (1u << 3)
#define CHECK_NEEDS_EVENT_IDX (1u << 4)
#define CHECK_NEEDS_IN_ORDER (1u << 5)
#define CHECK_NEEDS_REPLY_ACK (1u << 6)
#define CHECK_NEEDS_STATUS (1u << 7)
#define CHECK_NEEDS_MQ (1u << 8) /* two request queues */
#define CHECK_NEEDS_INFLIGHT (1u << 9)
#define CHECK_NEEDS_SLOTS (1u << 10)
#define CHECK_NEEDS_RESET_DEVICE (1u << 11)
#define CHECK_NEEDS_CONFIG (1u << 12)
#define CHECK_NEEDS_FROM_DEVICE (1u << 13) /* a request whose data the device writes */
#define CHECK_NEEDS_TO_DEVICE (1u << 14)   /* a request whose data the device reads */

struct check_case {
	const char *id;          /* "buffer-write-to-read-only" */
	const char *requirement; /* "DEV-9" */
	const char *title;       /* what a device does that keeps the rule: a clause, "does not write to ..." */
	unsigned needs;
	enum check_verdict (*play)(struct check_session *session);
};

/* Each file of cases has one list, ended by an empty one; check/device/cases.c has the list of lists. */
extern const struct check_case *const check_device_cases[];

/* Verdicts, with why: a sentence without full stop. Answers the verdict. */
enum check_verdict check_passed(struct check_session *session);
enum check_verdict check_failed(struct check_session *session, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
enum check_verdict check_observed(struct check_session *session, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
enum check_verdict check_not_exercised(struct check_session *session, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* For the timeline. */
void check_event(struct check_session *session, enum check_side side, uint64_t bus, uint64_t bytes, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
/* The event just told gave the device its mapping, or took it away. */
void check_event_mapping(struct check_session *session, enum check_mapping mapping);

#endif
