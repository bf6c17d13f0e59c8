/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stepper.c - how it works: takes hold of one thread of a running process, lets it come back from epoll_wait with work a
 * number of times, and then run up to an address, if it is not 0 (the processor's breakpoint, which changes no memory);
 * from there on it goes one instruction at a time; after the Nth it kills the process, and the thread executes nothing
 * more. Which instructions count is said on standard input: ranges of addresses, two hexadecimal numbers a line; none:
 * all do.
 *
 * Usage: stepper PID THREAD RETURNS ADDRESS N. It says "ready" when it holds the process, and at the end where that
 * stood, how many instructions it has seen, and how many of them counted. Whoever ends the stepper ends the process.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define RANGES_MAX 512
#define STEPS_MAX 20000000ul

static struct {
	uint64_t begin, end;
} ranges[RANGES_MAX];
static unsigned range_count;
static pid_t thread;

static void fail(const char *what)
{
	printf("failed: %s: %s\n", what, strerror(errno));
	exit(1);
}

static bool counts(uint64_t at)
{
	for (unsigned i = 0; i < range_count; i++)
		if (at >= ranges[i].begin && at < ranges[i].end)
			return true;
	return !range_count;
}

static struct __ptrace_syscall_info state(void)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, (void *)sizeof(info), &info) <= 0)
		fail("PTRACE_GET_SYSCALL_INFO");
	return info;
}

/* Go on to the next stop of that kind; signals on the way are handed on. */
static void go_on(enum __ptrace_request how)
{
	int status, signal_number = 0;

	for (;;) {
		if (ptrace(how, thread, NULL, (void *)(intptr_t)signal_number) < 0)
			fail("the process went away");
		if (waitpid(thread, &status, __WALL) != thread || !WIFSTOPPED(status)) {
			errno = ESRCH;
			fail("the process ended by itself");
		}
		signal_number = WSTOPSIG(status);
		if (signal_number == SIGTRAP || signal_number == (SIGTRAP | 0x80))
			return;
		if (status >> 16) /* a stop of the whole process */
			signal_number = 0;
	}
}

static bool waits(uint64_t number)
{
#ifdef SYS_epoll_wait
	if (number == SYS_epoll_wait)
		return true;
#endif
	return number == SYS_epoll_pwait;
}

static void until_work_arrives(unsigned long returns)
{
	uint64_t number = 0;

	while (returns) {
		struct __ptrace_syscall_info info;

		go_on(PTRACE_SYSCALL);
		info = state();
		if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
			number = info.entry.nr;
		else if (info.op == PTRACE_SYSCALL_INFO_EXIT && waits(number) && info.exit.rval > 0)
			returns--;
	}
}

static void run_to(uint64_t address)
{
#ifdef __x86_64__
	const size_t registers = offsetof(struct user, u_debugreg);

	if (!address)
		return;
	if (ptrace(PTRACE_POKEUSER, thread, (void *)registers, (void *)address) < 0 ||
	    ptrace(PTRACE_POKEUSER, thread, (void *)(registers + 7 * sizeof(long)), (void *)1) < 0)
		fail("a breakpoint of the processor");
	do
		go_on(PTRACE_CONT);
	while (state().instruction_pointer != address);
	if (ptrace(PTRACE_POKEUSER, thread, (void *)(registers + 7 * sizeof(long)), NULL) < 0)
		fail("a breakpoint of the processor");
#else
	errno = ENOSYS;
	if (address)
		fail("a breakpoint of the processor");
#endif
}

/* On one processor the two wait for each other a third as long. */
static void share_a_processor(void)
{
	cpu_set_t here;
	int processor = sched_getcpu();

	CPU_ZERO(&here);
	CPU_SET(processor < 0 ? 0 : (unsigned)processor, &here);
	(void)!sched_setaffinity(0, sizeof(here), &here);
	(void)!sched_setaffinity(thread, sizeof(here), &here);
}

static void take_hold(void)
{
	int status;

	share_a_processor();

	if (ptrace(PTRACE_SEIZE, thread, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)) < 0)
		fail("PTRACE_SEIZE");
	if (ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) < 0 || waitpid(thread, &status, __WALL) != thread)
		fail("PTRACE_INTERRUPT");
}

int main(int count, char **arguments)
{
	unsigned long due, steps = 0, counted = 0;
	struct __ptrace_syscall_info info;

	if (count != 6)
		return 2;
	thread = (pid_t)strtol(arguments[2], NULL, 10);
	due = strtoul(arguments[5], NULL, 10);
	while (range_count < RANGES_MAX &&
	       scanf("%" SCNx64 " %" SCNx64, &ranges[range_count].begin, &ranges[range_count].end) == 2)
		range_count++;
	take_hold();
	printf("ready\n");
	fflush(stdout);
	until_work_arrives(strtoul(arguments[3], NULL, 10));
	run_to(strtoull(arguments[4], NULL, 16));
	do {
		go_on(PTRACE_SINGLESTEP);
		info = state();
		counted += counts(info.instruction_pointer);
	} while (++steps < STEPS_MAX && counted < due);
	if (kill((pid_t)strtol(arguments[1], NULL, 10), SIGKILL) < 0)
		fail("SIGKILL");
	printf("%" PRIx64 " %lu %lu\n", (uint64_t)info.instruction_pointer, steps, counted);
	return 0;
}
