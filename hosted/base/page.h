/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * page.h - one page of HTML without anything from elsewhere, readable on light and on dark ground: no scripts, and colours are
 * the page's: var(--ink), var(--faint), var(--line), var(--c0) to var(--c9).
 */
#ifndef VIODMA_HOSTED_PAGE_H
#define VIODMA_HOSTED_PAGE_H

#include <stdio.h>

/* Up to and with the body's beginning; `style` is the page's own, after what all pages have. */
void viodma_page_begin(FILE *to, const char *title, const char *style);
void viodma_page_end(FILE *to);

#endif
