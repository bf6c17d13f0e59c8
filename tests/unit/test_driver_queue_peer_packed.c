/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_driver_queue_peer_packed.c - test_driver_queue_peer.c with packed rings.
 */
#define TEST_PACKED 1
#include "test_driver_queue_peer.c"
