/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_requests.h - test build only: accesses the device half is told to attempt from outside, as requests of its own.
 *
 * A Unix stream socket takes lines, one at a time per connection:
 *	stray-read ADDRESS LENGTH    read HEXBYTES          or   refused REQUIREMENT ADDRESS REASON
 *	stray-write ADDRESS LENGTH   written                or   refused REQUIREMENT ADDRESS REASON
 * ADDRESS is a bus address. Other lines get "error WHAT".
 * They go through core/space like any other access, in the device's thread, and what is refused is reported as a fault
 * outside any queue.
 *
 * In a sound build there is nothing behind these functions.
 */
#ifndef VIODMA_TOOLS_TEST_REQUESTS_H
#define VIODMA_TOOLS_TEST_REQUESTS_H

#include <viodma/vhost_user.h>

struct test_requests;

#ifdef VIODMA_TEST_BUILD
/* Listen. False: errno says why. `backend` must outlive it. In the loop's thread, or before it runs; so is free. */
bool test_requests_new(struct viodma_loop *loop, struct viodma_vhost_user *backend, const char *path,
		       struct test_requests **requests);
void test_requests_free(struct test_requests *requests);
#else
static inline bool test_requests_new(struct viodma_loop *loop, struct viodma_vhost_user *backend, const char *path,
				     struct test_requests **requests)
{
	(void)loop;
	(void)backend;
	(void)path;
	*requests = NULL;
	return true;
}
static inline void test_requests_free(struct test_requests *requests)
{
	(void)requests;
}
#endif

#endif
