/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz.h - a whole back end driven from a buffer, in one process and one thread, for fuzzers.
 *
 * Not part of the library: whoever fuzzes compiles fuzz.c in.
 */
#ifndef VIODMA_HOSTED_VHOST_USER_FUZZ_H
#define VIODMA_HOSTED_VHOST_USER_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/*
 * Read the buffer as what a front end does (fuzz.c says how), do it to a fresh back end, and end the connection. Every
 * descriptor and all memory are given back. Always answers 0, as libFuzzer wants it. One thread at a time.
 */
int viodma_vhost_user_fuzz(const uint8_t *data, size_t bytes);

#endif
