/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_guard.c - memory that a front end truncates under us: what its SIGBUS costs, and who else pays for it.
 *
 * Each test truncates the file behind its mappings and touches them. A guard that fails ends the process with SIGBUS.
 */
#include "hosted/vhost_user/guard.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE 4096u
#define MANY_PAGES 70000u /* every other one touched: more mappings than a process may have */
#define MANY_RANGES 509u
#define MANY_GUARDS 20000u

static _Atomic int gone;

/* cmocka puts handlers of its own around every test, and the guard's is installed once. */
static int guard_add(volatile unsigned char *memory, size_t bytes)
{
	static struct sigaction ours;
	int guard = viodma_guard_add((void *)(uintptr_t)memory, bytes, PAGE, &gone);

	if (ours.sa_sigaction)
		sigaction(SIGBUS, &ours, NULL);
	else
		sigaction(SIGBUS, NULL, &ours);
	return guard;
}

static volatile unsigned char *map_file(size_t bytes, int *fd)
{
	void *memory;

	*fd = memfd_create("guarded", MFD_CLOEXEC);
	assert_true(*fd >= 0);
	assert_int_equal(ftruncate(*fd, (off_t)bytes), 0);
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, *fd, 0);
	assert_true(memory != MAP_FAILED);
	return memory;
}

static unsigned mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned lines = 0;

	assert_non_null(maps);
	for (int c = fgetc(maps); c != EOF; c = fgetc(maps))
		lines += c == '\n';
	fclose(maps);
	return lines;
}

static void a_page_taken_back_reads_as_zeros_and_says_so(void **state)
{
	volatile unsigned char *memory;
	int fd, guard;

	(void)state;
	memory = map_file(4 * PAGE, &fd);
	memory[0] = memory[3 * PAGE] = 7;
	atomic_store(&gone, 0);
	guard = guard_add(memory, 4 * PAGE);
	assert_true(guard >= 0);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	assert_int_equal(memory[0], 7);
	assert_int_equal(atomic_load(&gone), 0);
	assert_int_equal(memory[3 * PAGE], 0);
	assert_int_equal(atomic_load(&gone), 1);
	memory[3 * PAGE] = 9; /* private: nobody else sees it */
	assert_int_equal(memory[0], 7);
	viodma_guard_remove(guard);
	munmap((void *)(uintptr_t)memory, 4 * PAGE);
	close(fd);
}

/* = PLT-10 */
static void scattered_pages_of_one_range_do_not_use_up_the_mappings_of_the_process(void **state)
{
	const size_t bytes = (size_t)2 * MANY_PAGES * PAGE;
	volatile unsigned char *memory;
	unsigned before, touched = 0;
	int fd, guard;

	(void)state;
	memory = map_file(bytes, &fd);
	before = mappings();
	guard = guard_add(memory, bytes);
	assert_true(guard >= 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	for (size_t page = 0; page < MANY_PAGES; page++)
		touched += memory[2 * page * PAGE] == 0;
	assert_int_equal(touched, MANY_PAGES);
	assert_true(mappings() <= before + 8);
	viodma_guard_remove(guard);
	munmap((void *)(uintptr_t)memory, bytes);
	close(fd);
}

/* = PLT-10: twice, since what was counted for ranges that went counts no more */
static void scattered_pages_of_many_ranges_do_not_either(void **state)
{
	const size_t bytes = (size_t)256 * PAGE;
	volatile unsigned char *memory[MANY_RANGES];
	int fds[MANY_RANGES], guards[MANY_RANGES];
	const unsigned before = mappings();

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < MANY_RANGES; i++) {
			memory[i] = map_file(bytes, &fds[i]);
			guards[i] = guard_add(memory[i], bytes);
			assert_true(guards[i] >= 0);
			assert_int_equal(ftruncate(fds[i], 0), 0);
			close(fds[i]);
		}
		for (unsigned i = 0; i < MANY_RANGES; i++) {
			for (size_t page = 0; page < 60; page++)
				assert_int_equal(memory[i][(2 * page + 1) * PAGE], 0);
			if (round == 1 && i == 9)
				assert_true(mappings() > before + MANY_RANGES + 500); /* one by one again */
		}
		assert_true(mappings() < before + 10000);
		for (unsigned i = 0; i < MANY_RANGES; i++) {
			viodma_guard_remove(guards[i]);
			munmap((void *)(uintptr_t)memory[i], bytes);
		}
	}
}

static void nobody_uses_up_the_guards_of_others(void **state)
{
	static int guards[MANY_GUARDS];
	static char memory[MANY_GUARDS];
	int again;

	(void)state;
	for (unsigned i = 0; i < MANY_GUARDS; i++) {
		guards[i] = viodma_guard_add(&memory[i], 1, 1, &gone);
		assert_true(guards[i] >= 0);
	}
	viodma_guard_remove(guards[5000]);
	again = viodma_guard_add(&memory[5000], 1, 1, &gone);
	assert_int_equal(again, guards[5000]);
	for (unsigned i = 0; i < MANY_GUARDS; i++)
		viodma_guard_remove(guards[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_page_taken_back_reads_as_zeros_and_says_so),
		cmocka_unit_test(scattered_pages_of_one_range_do_not_use_up_the_mappings_of_the_process),
		cmocka_unit_test(scattered_pages_of_many_ranges_do_not_either),
		cmocka_unit_test(nobody_uses_up_the_guards_of_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
