/* SPDX-License-Identifier: BSD-3-Clause */
/* test_poller.c - how long is looked before sleeping, by a clock of the test's own. */
#include <viodma/poller.h>

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#define SOON_NS 10000u
#define LATE_NS 1000000u

static struct viodma_poller poller;
static uint64_t now;

static void begin(uint32_t poll_us)
{
	viodma_poller_init(&poller, poll_us);
	now = 1000000000;
	viodma_poller_work(&poller, now);
}

/* Work ends, and comes again so long after that. True: it was looked for until then. */
static bool idle_for(uint64_t ns)
{
	const uint64_t until = now + ns;
	bool again;

	viodma_poller_idle(&poller, now);
	for (again = viodma_poller_again(&poller, now); again && now < until; again = viodma_poller_again(&poller, now))
		now += 1000;
	now = until;
	viodma_poller_work(&poller, now);
	return again;
}

/* How long it looks if nothing ever comes. */
static uint64_t looks_ns(void)
{
	const uint64_t began = now;

	viodma_poller_idle(&poller, now);
	while (viodma_poller_again(&poller, now) && now - began < 10 * (uint64_t)LATE_NS)
		now += 1000;
	return now - began;
}

static void it_never_looks_if_told_so(void **state)
{
	(void)state;
	begin(0);
	for (int i = 0; i < 10; i++)
		assert_false(idle_for(SOON_NS));
	assert_false(viodma_poller_looks(&poller));
}

static void a_given_time_is_kept_each_time(void **state)
{
	(void)state;
	begin(200);
	assert_true(viodma_poller_looks(&poller));
	for (int i = 0; i < 3; i++) {
		assert_true(idle_for(199000));
		assert_int_equal(looks_ns(), 200000);
		assert_false(viodma_poller_again(&poller, now));
		viodma_poller_work(&poller, now);
	}
}

static void by_itself_it_begins_when_something_came_soon(void **state)
{
	(void)state;
	begin(VIODMA_POLL_AUTO);
	assert_false(viodma_poller_looks(&poller));
	assert_false(idle_for(LATE_NS));
	assert_false(idle_for(LATE_NS));
	assert_false(idle_for(SOON_NS));
	assert_true(viodma_poller_looks(&poller));
	for (int i = 0; i < 5; i++)
		assert_true(idle_for(SOON_NS));
}

static void by_itself_it_ends_after_one_look_out(void **state)
{
	(void)state;
	begin(VIODMA_POLL_AUTO);
	assert_false(idle_for(SOON_NS));
	assert_int_equal(looks_ns(), VIODMA_POLLER_AUTO_NS);
	now += LATE_NS;
	viodma_poller_work(&poller, now);
	for (int i = 0; i < 100; i++)
		assert_int_equal(looks_ns(), 0);
	assert_false(viodma_poller_looks(&poller));
}

static void looking_in_vain_is_rarer_each_time(void **state)
{
	unsigned looked = 0, rounds = 3000;

	(void)state;
	begin(VIODMA_POLL_AUTO);
	/* Always too late for one that looks, and always soon enough for one that sleeps. */
	for (unsigned i = 0; i < rounds; i++) {
		const uint64_t before = now;

		looked += looks_ns() != 0;
		now = before + VIODMA_POLLER_AUTO_NS + SOON_NS;
		viodma_poller_work(&poller, now);
	}
	assert_in_range(looked, 6, 6 + rounds / VIODMA_POLLER_SKIP_MAX);
	/* And a success makes up for it. */
	while (!viodma_poller_looks(&poller))
		assert_false(idle_for(SOON_NS));
	assert_true(idle_for(SOON_NS));
	assert_int_equal(looks_ns(), VIODMA_POLLER_AUTO_NS);
	now += LATE_NS;
	viodma_poller_work(&poller, now);
	assert_false(idle_for(SOON_NS));
	assert_true(viodma_poller_looks(&poller));
}

static void it_does_not_look_while_it_is_busy(void **state)
{
	(void)state;
	begin(200);
	assert_false(viodma_poller_again(&poller, now));
	viodma_poller_idle(&poller, now);
	viodma_poller_idle(&poller, now + 150000); /* it is idle already: nothing begins anew */
	assert_true(viodma_poller_again(&poller, now + 199999));
	assert_false(viodma_poller_again(&poller, now + 200000));
}

static void a_thread_that_has_one_processor_lets_others_run(void **state)
{
	cpu_set_t all, one;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&one);
	for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
		if (CPU_ISSET(i, &all))
			CPU_SET(i, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	begin(200);
	assert_true(poller.yields);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	begin(200);
	assert_int_equal(poller.yields, CPU_COUNT(&all) == 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_never_looks_if_told_so),
		cmocka_unit_test(a_given_time_is_kept_each_time),
		cmocka_unit_test(by_itself_it_begins_when_something_came_soon),
		cmocka_unit_test(by_itself_it_ends_after_one_look_out),
		cmocka_unit_test(looking_in_vain_is_rarer_each_time),
		cmocka_unit_test(it_does_not_look_while_it_is_busy),
		cmocka_unit_test(a_thread_that_has_one_processor_lets_others_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
