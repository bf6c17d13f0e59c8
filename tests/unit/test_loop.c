/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_loop.c - the event loop: what a callback may do to other objects, fairness, other threads.
 *
 * Each test runs a loop until a callback stops it; a watchdog (alarm) ends a test that would wait for ever.
 */
#include <viodma/loop.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define WATCHES 8

static struct viodma_loop *loop;
static struct viodma_loop_watch *watches[WATCHES];
static struct viodma_loop_timer *timers[3];
static struct viodma_loop_deferred *deferred[2];
static int fds[WATCHES];
static int calls[WATCHES];
static char order[64];
static unsigned seen_events;
static volatile sig_atomic_t stop_kept_errno;

static int set_up(void **state)
{
	(void)state;
	memset(watches, 0, sizeof(watches));
	memset(calls, 0, sizeof(calls));
	memset(order, 0, sizeof(order));
	alarm(20);
	return viodma_loop_new(&loop) == VIODMA_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	viodma_loop_free(loop);
	alarm(0);
	return 0;
}

static void note(const char *what)
{
	strncat(order, what, sizeof(order) - strlen(order) - 1);
}

static int ready_fd(void)
{
	int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_true(fd >= 0);
	return fd;
}

static void stop(void *context)
{
	(void)context;
	viodma_loop_stop(loop);
}

/* ---- descriptors ---- */

static void free_all_others(void *context, unsigned events)
{
	intptr_t self = (intptr_t)context;

	(void)events;
	calls[self]++;
	for (intptr_t i = 0; i < WATCHES; i++) {
		viodma_loop_unwatch(watches[i]); /* itself among them */
		watches[i] = NULL;
	}
	viodma_loop_schedule(deferred[0]);
}

static void a_callback_may_unwatch_itself_and_all_others_of_its_batch(void **state)
{
	int total = 0;

	(void)state;
	assert_int_equal(viodma_loop_deferred(loop, stop, NULL, &deferred[0]), VIODMA_OK);
	for (intptr_t i = 0; i < WATCHES; i++) {
		fds[i] = ready_fd();
		assert_int_equal(viodma_loop_watch(loop, fds[i], VIODMA_LOOP_IN, free_all_others, (void *)i,
						   &watches[i]),
				 VIODMA_OK);
	}
	viodma_loop_run(loop);
	for (int i = 0; i < WATCHES; i++) {
		total += calls[i];
		close(fds[i]);
	}
	assert_int_equal(total, 1);
}

static void record_events(void *context, unsigned events)
{
	(void)context;
	seen_events |= events;
	viodma_loop_stop(loop);
}

static void a_hang_up_is_readable(void **state)
{
	struct viodma_loop_watch *watch;
	int pair[2];

	(void)state;
	seen_events = 0;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(viodma_loop_watch(loop, pair[0], VIODMA_LOOP_IN, record_events, NULL, &watch), VIODMA_OK);
	close(pair[1]);
	viodma_loop_run(loop);
	assert_int_equal(seen_events, VIODMA_LOOP_IN);
	viodma_loop_unwatch(watch);
	close(pair[0]);
}

static void a_watch_for_nothing_is_quiet_even_when_hung_up(void **state)
{
	struct viodma_loop_watch *watch;
	int pair[2];

	(void)state;
	seen_events = 0;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(viodma_loop_watch(loop, pair[0], VIODMA_LOOP_IN, record_events, NULL, &watch), VIODMA_OK);
	assert_int_equal(viodma_loop_change(watch, 0), VIODMA_OK);
	close(pair[1]);
	assert_int_equal(viodma_loop_timer(loop, stop, NULL, &timers[0]), VIODMA_OK);
	viodma_loop_arm(timers[0], viodma_loop_now_ns() + 20000000);
	viodma_loop_run(loop);
	assert_int_equal(seen_events, 0);
	assert_int_equal(viodma_loop_change(watch, VIODMA_LOOP_OUT), VIODMA_OK);
	viodma_loop_run(loop);
	assert_int_equal(seen_events, VIODMA_LOOP_OUT);
	viodma_loop_unwatch(watch);
	close(pair[0]);
}

static void what_cannot_be_waited_for_is_refused(void **state)
{
	struct viodma_loop_watch *watch;
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(viodma_loop_watch(loop, fd, VIODMA_LOOP_IN, record_events, NULL, &watch), VIODMA_E_INVALID);
	assert_int_equal(viodma_loop_watch(loop, -1, VIODMA_LOOP_IN, record_events, NULL, &watch), VIODMA_E_INVALID);
	close(fd);
	viodma_loop_unwatch(NULL);
}

/* ---- timers ---- */

static void expire_a(void *context)
{
	(void)context;
	note("a");
}

static void expire_b(void *context)
{
	(void)context;
	note("b");
	viodma_loop_stop(loop);
}

static void timers_expire_once_in_the_order_of_their_deadlines(void **state)
{
	uint64_t now = viodma_loop_now_ns();

	(void)state;
	assert_int_equal(viodma_loop_timer(loop, expire_b, NULL, &timers[1]), VIODMA_OK);
	assert_int_equal(viodma_loop_timer(loop, expire_a, NULL, &timers[0]), VIODMA_OK);
	viodma_loop_arm(timers[1], now + 30000000);
	viodma_loop_arm(timers[0], now + 60000000);
	viodma_loop_arm(timers[0], now + 10000000); /* the later word counts */
	viodma_loop_run(loop);
	assert_string_equal(order, "ab");
	assert_true(viodma_loop_now_ns() >= now + 30000000);
}

static void free_the_other_due_timer(void *context)
{
	(void)context;
	note("x");
	viodma_loop_timer_free(timers[1]);
	viodma_loop_timer_free(timers[0]); /* itself */
	viodma_loop_arm(timers[2], viodma_loop_now_ns() + 5000000);
}

static void a_timer_may_free_itself_and_another_that_is_due(void **state)
{
	(void)state;
	assert_int_equal(viodma_loop_timer(loop, free_the_other_due_timer, NULL, &timers[0]), VIODMA_OK);
	assert_int_equal(viodma_loop_timer(loop, expire_a, NULL, &timers[1]), VIODMA_OK);
	assert_int_equal(viodma_loop_timer(loop, expire_b, NULL, &timers[2]), VIODMA_OK);
	viodma_loop_arm(timers[0], 1);
	viodma_loop_arm(timers[1], 2);
	viodma_loop_arm(timers[2], 3); /* due as well, but armed again before its turn */
	viodma_loop_run(loop);
	assert_string_equal(order, "xb");
}

static void a_disarmed_timer_does_not_expire(void **state)
{
	(void)state;
	assert_int_equal(viodma_loop_timer(loop, expire_a, NULL, &timers[0]), VIODMA_OK);
	assert_int_equal(viodma_loop_timer(loop, expire_b, NULL, &timers[1]), VIODMA_OK);
	viodma_loop_arm(timers[0], 1);
	viodma_loop_arm(timers[0], UINT64_MAX);
	viodma_loop_arm(timers[1], viodma_loop_now_ns() + 5000000);
	viodma_loop_run(loop);
	assert_string_equal(order, "b");
}

/* ---- deferred calls ---- */

static void again_and_again(void *context)
{
	(void)context;
	calls[0]++;
	viodma_loop_schedule(deferred[0]);
}

static void stop_when_ready(void *context, unsigned events)
{
	(void)context;
	(void)events;
	calls[1]++;
	if (calls[1] == 3)
		viodma_loop_stop(loop);
}

static void deferred_calls_that_schedule_themselves_starve_nothing(void **state)
{
	struct viodma_loop_watch *watch;
	int fd = ready_fd();

	(void)state;
	assert_int_equal(viodma_loop_deferred(loop, again_and_again, NULL, &deferred[0]), VIODMA_OK);
	assert_int_equal(viodma_loop_watch(loop, fd, VIODMA_LOOP_IN, stop_when_ready, NULL, &watch), VIODMA_OK);
	viodma_loop_schedule(deferred[0]);
	viodma_loop_run(loop);
	assert_int_equal(calls[1], 3);
	assert_true(calls[0] >= 2 && calls[0] <= 4);
	viodma_loop_unwatch(watch);
	close(fd);
}

static void free_the_other_deferred(void *context)
{
	(void)context;
	note("f");
	viodma_loop_deferred_free(deferred[1]);
	viodma_loop_deferred_free(deferred[0]);
	viodma_loop_stop(loop);
}

static void a_deferred_call_runs_once_and_may_free_the_next(void **state)
{
	(void)state;
	assert_int_equal(viodma_loop_deferred(loop, free_the_other_deferred, NULL, &deferred[0]), VIODMA_OK);
	assert_int_equal(viodma_loop_deferred(loop, expire_a, NULL, &deferred[1]), VIODMA_OK);
	viodma_loop_schedule(deferred[0]);
	viodma_loop_schedule(deferred[0]);
	viodma_loop_schedule(deferred[1]);
	viodma_loop_run(loop);
	assert_string_equal(order, "f");
}

/* ---- other threads ---- */

static int counter;
static pthread_t loop_thread;

static void count_in_the_loop(void *context)
{
	(void)context;
	assert_true(pthread_equal(pthread_self(), loop_thread));
	counter++;
}

static void *run_the_loop(void *context)
{
	(void)context;
	viodma_loop_run(loop);
	return NULL;
}

static void *call_often(void *context)
{
	(void)context;
	for (int i = 0; i < 1000; i++)
		viodma_loop_call(loop, count_in_the_loop, NULL);
	return NULL;
}

static void calls_of_other_threads_run_in_the_loop_and_are_waited_for(void **state)
{
	pthread_t callers[2];

	(void)state;
	counter = 0;
	assert_int_equal(pthread_create(&loop_thread, NULL, run_the_loop, NULL), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&callers[i], NULL, call_often, NULL), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(callers[i], NULL);
	viodma_loop_stop(loop);
	pthread_join(loop_thread, NULL);
	assert_int_equal(counter, 2000);
}

static void hold_the_loop(void *context)
{
	uint64_t counter_value;

	assert_int_equal(read(*(int *)context, &counter_value, sizeof(counter_value)), sizeof(counter_value));
}

static uint64_t soon(void)
{
	return viodma_loop_now_ns() + 30000000;
}

static void a_call_given_up_is_never_made_and_one_that_has_begun_is_told_apart(void **state)
{
	const uint64_t one = 1;
	int held = eventfd(0, EFD_CLOEXEC);

	(void)state;
	assert_true(held >= 0);
	counter = 0;
	assert_int_equal(viodma_loop_call_until(loop, count_in_the_loop, NULL, soon()), VIODMA_E_TIMEOUT);
	assert_int_equal(pthread_create(&loop_thread, NULL, run_the_loop, NULL), 0);
	assert_int_equal(viodma_loop_call_until(loop, hold_the_loop, &held, soon()), VIODMA_E_BUSY);
	assert_int_equal(viodma_loop_call_until(loop, count_in_the_loop, NULL, soon()), VIODMA_E_TIMEOUT);
	assert_int_equal(write(held, &one, sizeof(one)), sizeof(one));
	assert_int_equal(viodma_loop_call_until(loop, count_in_the_loop, NULL, viodma_loop_now_ns() + 10000000000u),
			 VIODMA_OK);
	viodma_loop_stop(loop);
	pthread_join(loop_thread, NULL);
	assert_int_equal(counter, 1);
	close(held);
}

static void a_stop_before_the_start_is_not_lost(void **state)
{
	(void)state;
	viodma_loop_stop(loop);
	viodma_loop_run(loop);
	viodma_loop_stop(loop); /* and counts once */
	viodma_loop_run(loop);
}

static void stop_in_a_handler(int number)
{
	(void)number;
	errno = EDOM;
	viodma_loop_stop(loop);
	stop_kept_errno = errno == EDOM;
}

static void raise_it(void *context)
{
	(void)context;
	raise(SIGUSR2);
}

static void a_signal_handler_may_stop_it_and_it_runs_again(void **state)
{
	(void)state;
	signal(SIGUSR2, stop_in_a_handler);
	assert_int_equal(viodma_loop_timer(loop, raise_it, NULL, &timers[0]), VIODMA_OK);
	for (int i = 0; i < 2; i++) {
		viodma_loop_arm(timers[0], 0); /* long past */
		viodma_loop_run(loop);
		assert_true(stop_kept_errno);
		stop_kept_errno = false;
	}
	signal(SIGUSR2, SIG_DFL);
}

static void again_then_free(void *context)
{
	(void)context;
	if (++calls[0] < 3) {
		viodma_loop_arm(timers[0], 0);
		return;
	}
	viodma_loop_timer_free(timers[0]);
	viodma_loop_stop(loop);
}

static void a_timer_may_arm_itself_for_the_past_and_free_itself(void **state)
{
	(void)state;
	assert_int_equal(viodma_loop_timer(loop, again_then_free, NULL, &timers[0]), VIODMA_OK);
	viodma_loop_arm(timers[0], 0);
	viodma_loop_run(loop);
	assert_int_equal(calls[0], 3);
}

/* ---- a loop with a lock ---- */

static pthread_mutex_t shared = PTHREAD_MUTEX_INITIALIZER;
static pthread_t holder; /* of the lock */
static _Atomic int rounds;

static void take_shared(void *context)
{
	(void)context;
	pthread_mutex_lock(&shared);
	holder = pthread_self();
}

static void drop_shared(void *context)
{
	(void)context;
	atomic_fetch_add(&rounds, 1);
	pthread_mutex_unlock(&shared);
}

static void run_a_shared_loop(void)
{
	static const struct viodma_loop_lock lock = {take_shared, drop_shared, NULL};

	rounds = 0;
	viodma_loop_share(loop, &lock);
	assert_int_equal(pthread_create(&loop_thread, NULL, run_the_loop, NULL), 0);
	while (!atomic_load(&rounds)) /* it waits, or is about to */
		usleep(1000);
	usleep(20000);
}

static void called_with_the_lock(void *context)
{
	calls[0] += pthread_equal(holder, pthread_self()) && pthread_mutex_trylock(&shared) != 0;
	if (context)
		viodma_loop_stop(loop);
}

static void whoever_holds_its_lock_may_schedule_and_arm_and_it_wakes_up(void **state)
{
	static int last;

	(void)state;
	assert_int_equal(viodma_loop_deferred(loop, called_with_the_lock, NULL, &deferred[0]), VIODMA_OK);
	assert_int_equal(viodma_loop_timer(loop, called_with_the_lock, &last, &timers[0]), VIODMA_OK);
	run_a_shared_loop();
	pthread_mutex_lock(&shared);
	viodma_loop_schedule(deferred[0]);
	pthread_mutex_unlock(&shared);
	usleep(20000);
	pthread_mutex_lock(&shared);
	assert_int_equal(calls[0], 1);
	viodma_loop_arm(timers[0], viodma_loop_now_ns() + 1000000);
	pthread_mutex_unlock(&shared);
	pthread_join(loop_thread, NULL);
	assert_int_equal(calls[0], 2);
}

static void count_ready(void *context, unsigned events)
{
	(void)events;
	calls[*(int *)context]++;
}

static void schedule_itself(void *context)
{
	(void)context;
	viodma_loop_schedule(deferred[0]);
}

static void what_another_thread_unwatched_during_the_wait_is_not_called(void **state)
{
	static int one = 1;
	const uint64_t tick = 1;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(viodma_loop_watch(loop, fd, VIODMA_LOOP_IN, count_ready, &one, &watches[0]), VIODMA_OK);
	run_a_shared_loop();
	pthread_mutex_lock(&shared);
	assert_int_equal(write(fd, &tick, sizeof(tick)), sizeof(tick));
	usleep(20000); /* its wait has ended, with this watch in the batch; now it wants the lock */
	viodma_loop_unwatch(watches[0]);
	pthread_mutex_unlock(&shared);
	usleep(20000);
	viodma_loop_stop(loop);
	pthread_join(loop_thread, NULL);
	assert_int_equal(calls[1], 0);
	close(fd);
}

static void its_lock_is_given_back_in_each_round_even_of_a_loop_that_is_busy(void **state)
{
	(void)state;
	assert_int_equal(viodma_loop_deferred(loop, schedule_itself, NULL, &deferred[0]), VIODMA_OK);
	viodma_loop_schedule(deferred[0]);
	run_a_shared_loop();
	assert_true(atomic_load(&rounds) > 1);
	viodma_loop_stop(loop);
	pthread_join(loop_thread, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_callback_may_unwatch_itself_and_all_others_of_its_batch),
		TEST(a_hang_up_is_readable),
		TEST(a_watch_for_nothing_is_quiet_even_when_hung_up),
		TEST(what_cannot_be_waited_for_is_refused),
		TEST(timers_expire_once_in_the_order_of_their_deadlines),
		TEST(a_timer_may_free_itself_and_another_that_is_due),
		TEST(a_disarmed_timer_does_not_expire),
		TEST(deferred_calls_that_schedule_themselves_starve_nothing),
		TEST(a_deferred_call_runs_once_and_may_free_the_next),
		TEST(calls_of_other_threads_run_in_the_loop_and_are_waited_for),
		TEST(a_call_given_up_is_never_made_and_one_that_has_begun_is_told_apart),
		TEST(a_stop_before_the_start_is_not_lost),
		TEST(a_signal_handler_may_stop_it_and_it_runs_again),
		TEST(a_timer_may_arm_itself_for_the_past_and_free_itself),
		TEST(whoever_holds_its_lock_may_schedule_and_arm_and_it_wakes_up),
		TEST(what_another_thread_unwatched_during_the_wait_is_not_called),
		TEST(its_lock_is_given_back_in_each_round_even_of_a_loop_that_is_busy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
