/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * text_out.h - text that comes from anywhere, into reports. What is not UTF-8 becomes U+FFFD.
 */
#ifndef VIODMA_HOSTED_TEXT_OUT_H
#define VIODMA_HOSTED_TEXT_OUT_H

#include <stdio.h>

/* As a JSON string, quotes included. */
void viodma_text_json(FILE *file, const char *text);

/* As text of XML or HTML, or inside an attribute's double quotes. */
void viodma_text_xml(FILE *file, const char *text);

#endif
