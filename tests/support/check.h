/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check.h - how it works: a behaviour is a function that answers true while the behaviour is there. One and the same
 * function is then run twice: as the library ships it must hold; with the check of its requirement removed (a mutant,
 * core/base/require.h) it must not. The second run happens in a child process, because a library without one of its
 * checks may crash or hang; either counts as noticed. So a test that would pass whatever the library does, fails.
 *
 *	static bool a_write_to_read_only_memory_is_refused(void) { ... CHECK(x == y); ... return true; }
 *	BEHAVIOUR(a_write_to_read_only_memory_is_refused, "DEV-9")     defines two tests
 *	HOLDS(this_too)                                                defines one test, without a mutant
 *	... WITH_MUTANT(a_write_to_read_only_memory_is_refused), TEST(this_too) ...
 */
#ifndef VIODMA_TESTS_CHECK_H
#define VIODMA_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Note where and why; answers false. */
bool check_note(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define CHECK(condition)                                                                                              \
	do {                                                                                                          \
		if (!(condition))                                                                                     \
			return check_note(__FILE__, __LINE__, "%s", #condition);                                      \
	} while (0)

#define CHECK_EQUAL(got, wanted)                                                                                      \
	do {                                                                                                          \
		long long check_got = (long long)(got), check_wanted = (long long)(wanted);                           \
		if (check_got != check_wanted)                                                                        \
			return check_note(__FILE__, __LINE__, "%s is %lld (0x%llx), not %s = %lld (0x%llx)", #got,     \
					  check_got, (unsigned long long)check_got, #wanted, check_wanted,            \
					  (unsigned long long)check_wanted);                                          \
	} while (0)

/* A result, by name. */
#define CHECK_RESULT(got, wanted)                                                                                     \
	do {                                                                                                          \
		enum viodma_result check_got = (got), check_wanted = (wanted);                                        \
		if (check_got != check_wanted)                                                                        \
			return check_note(__FILE__, __LINE__, "%s is %s, not %s", #got, viodma_result_name(check_got), \
					  viodma_result_name(check_wanted));                                          \
	} while (0)

/* Fail the running cmocka test unless the behaviour holds. */
void check_holds(bool (*behaviour)(void));

/* Fail the running cmocka test if the behaviour holds although the checks of `requirement` are removed. */
void check_fails_without(bool (*behaviour)(void), const char *requirement);

#define HOLDS(behaviour)                                                                                              \
	static void test_##behaviour(void **state)                                                                    \
	{                                                                                                             \
		(void)state;                                                                                          \
		check_holds(behaviour);                                                                               \
	}
#define BEHAVIOUR(behaviour, requirement)                                                                             \
	HOLDS(behaviour)                                                                                              \
	static void test_##behaviour##_and_not_without_the_check(void **state)                                        \
	{                                                                                                             \
		(void)state;                                                                                          \
		check_fails_without(behaviour, requirement);                                                          \
	}

#define TEST(behaviour) cmocka_unit_test(test_##behaviour)
#define WITH_MUTANT(behaviour)                                                                                        \
	cmocka_unit_test(test_##behaviour), cmocka_unit_test(test_##behaviour##_and_not_without_the_check)

/*
 * Run the tests of a program: with a packed ring `both` only, else those and the ones about split rings.
 * (cmocka_run_group_tests_name without set-up.)
 */
int check_run(const char *name, const struct CMUnitTest *both, size_t both_count, const struct CMUnitTest *split,
	     size_t split_count, CMFixtureFunction after);
#define CHECK_RUN(name, both, split, after)                                                                            \
	check_run(name, both, sizeof(both) / sizeof((both)[0]), split, sizeof(split) / sizeof((split)[0]), after)

/* Repeatable random numbers; the seed is printed with a failure. */
struct check_random {
	uint64_t state;
};
uint64_t check_random(struct check_random *random);
static inline uint64_t check_below(struct check_random *random, uint64_t bound)
{
	return check_random(random) % bound;
}

#endif
