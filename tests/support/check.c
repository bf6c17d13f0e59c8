/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check.c - how it works: the last failed CHECK leaves its text in one buffer; check_holds shows it. The child process
 * of check_fails_without has its output thrown away (a sanitizer may have much to say there) and ten seconds.
 */
#include "tests/support/check.h"

#include "tests/support/mutant.h"
#include "tests/support/test_driver.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_SECONDS 10

static char note[512];

bool check_note(const char *file, int line, const char *format, ...)
{
	va_list arguments;
	int used = snprintf(note, sizeof(note), "%s:%d: ", file, line);

	va_start(arguments, format);
	if (used > 0 && (size_t)used < sizeof(note))
		(void)vsnprintf(note + used, sizeof(note) - (size_t)used, format, arguments);
	va_end(arguments);
	return false;
}

void check_holds(bool (*behaviour)(void))
{
	viodma_mutant_set(NULL);
	note[0] = '\0';
	if (!behaviour()) {
		fprintf(stderr, "# %s\n", note); /* under TAP the framework keeps the text to itself */
		fail_msg("%s", note);
	}
}

void check_fails_without(bool (*behaviour)(void), const char *requirement)
{
	int status = 0;
	pid_t child;

	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int nothing = open("/dev/null", O_WRONLY);

		if (nothing >= 0) {
			(void)dup2(nothing, 1);
			(void)dup2(nothing, 2);
		}
		/* The test framework's own handlers would jump back into the run of all tests. */
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		signal(SIGABRT, SIG_DFL);
		signal(SIGFPE, SIG_DFL);
		signal(SIGILL, SIG_DFL);
		alarm(CHILD_SECONDS);
		viodma_mutant_set(requirement);
		_exit(behaviour() ? 0 : 1);
	}
	assert_true(waitpid(child, &status, 0) == child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		fail_msg("holds although the checks of %s are removed", requirement);
}

uint64_t check_random(struct check_random *random)
{
	/* xorshift64*; any non-zero state */
	uint64_t x = random->state ? random->state : 88172645463325252u;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	random->state = x;
	return x * 2685821657736338717u;
}

int check_run(const char *name, const struct CMUnitTest *both, size_t both_count, const struct CMUnitTest *split,
	     size_t split_count, CMFixtureFunction after)
{
	struct CMUnitTest tests[128];
	size_t count = both_count + (test_packed() ? 0 : split_count);

	if (both_count + split_count > sizeof(tests) / sizeof(tests[0]))
		abort();
	memcpy(tests, both, both_count * sizeof(*both));
	memcpy(tests + both_count, split, split_count * sizeof(*split));
	return _cmocka_run_group_tests(name, tests, count, NULL, after);
}
