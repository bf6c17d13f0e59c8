/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check.h - does this device keep the rules? The other half is played, a case for each thing that could be wrong, against
 * anybody's implementation; what came out is a verdict for each case, and from those one for each requirement.
 *
 *   run.c              goes through the cases: each over a connection of its own, once for each ring layout
 *   outcome.c          verdicts, evidence, the timeline of a case
 *   report_*.c         text, JSON, JUnit, one page of HTML
 *   device/            the driver's half: a front end that does exactly as told, and cases against devices
 *
 * Units: bytes; nanoseconds of CLOCK_MONOTONIC; milliseconds where the name says so.
 */
#ifndef VIODMA_CHECK_CHECK_H
#define VIODMA_CHECK_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct check_case;
struct check_type;

const char *check_case_id(const struct check_case *of);

/* What came out, the worse the larger. */
enum check_verdict {
	CHECK_NOT_EXERCISED, /* it could not be played, or what it is about did not happen */
	CHECK_OBSERVED,      /* neither right nor wrong: worth knowing */
	CHECK_PASSED,
	CHECK_FAILED,
	CHECK_VERDICTS
};
const char *check_verdict_name(enum check_verdict verdict); /* "pass", "fail", "observation", "not exercised" */

/* What happened in a case, in its order. */
enum check_side { CHECK_US, CHECK_PEER };
enum check_mapping { CHECK_NO_MAPPING, CHECK_MAPPED, CHECK_UNMAPPED }; /* from here on the device has one there, or has none */
struct check_event {
	uint64_t ns;          /* since the case began */
	enum check_side side; /* who did it */
	enum check_mapping mapping;
	uint64_t bus, bytes;  /* where; both 0: nowhere */
	char text[120];
};
#define CHECK_EVENTS_MAX 400u /* of a case; the first half, and then the last ones */

/* One case over one ring layout. */
struct check_outcome {
	const struct check_case *played;
	const char *ring; /* "split", "packed"; "": no ring is in it */
	enum check_verdict verdict;
	char why[512];    /* a sentence: what was wrong, with addresses and bytes; why it was not exercised */
	uint64_t ns;      /* so long did it take */
	struct check_event *events;
	uint32_t event_count, events_lost;
};

struct check_report {
	const char *peer, *type;
	uint64_t features, protocol_features; /* what the device offered first */
	struct check_outcome *outcomes;
	uint32_t outcome_count;
	bool could_not_run;
	char reason[512]; /* then: why, a sentence */
};

struct check_options {
	const char *socket_path; /* connect here for each case; or */
	int socket_fd;           /* a connected socket, for the first connection; -1: none */
	const char *command;     /* run this before each connection, "sh -c", and end it after; NULL: the device is there */
	const struct check_type *type;
	uint32_t timeout_ms; /* a peer that is silent for so long is silent */
	bool writes;         /* what the device keeps may be written to */
	const char *only;    /* ids of cases or requirements, with commas; NULL: all */
	void (*progress)(void *context, const struct check_case *playing, uint32_t at, uint32_t of);
	void *context;
};

const struct check_type *check_type_named(const char *name, size_t length);
/* The nth type's name, or NULL. */
const char *check_type_name(uint32_t n);

/* Is each word of `only` the id of a case or of a requirement with cases? If not, *unknown is it, with its length. */
bool check_only_known(const char *only, const char **unknown, size_t *length);

/*
 * Play them all. False: out of memory. A peer that cannot be reached, or is no vhost-user back end, is in report->reason; one that
 * crashes, hangs or breaks the protocol in the middle of a case, in that case's verdict. Each case ends: it waits for no answer
 * longer than timeout_ms.
 */
bool check_device(const struct check_options *options, struct check_report *report);
void check_report_free(struct check_report *report);

/* Of all outcomes about this requirement: failed if one did; else passed if one did; else observed; else not exercised. */
enum check_verdict check_report_requirement(const struct check_report *report, const char *requirement);
/* Is the outcome at this place the first one about its requirement? */
bool check_report_first(const struct check_report *report, uint32_t at);

int check_requirement_compare(const char *one, const char *other); /* DEV-9 comes before DEV-10 */
void check_list(FILE *to, bool markdown); /* the cases there are */
void check_report_text(const struct check_report *report, FILE *to);
bool check_report_json(const struct check_report *report, const char *path);
bool check_report_junit(const struct check_report *report, const char *path);
/* One page: the matrix, and the evidence, with a picture of each failure. */
bool check_report_html(const struct check_report *report, const char *path);

#endif
