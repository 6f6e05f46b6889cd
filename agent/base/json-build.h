/* SPDX-License-Identifier: MIT */
/* json-build: documents that Pullet itself writes. A lack of memory aborts; untrusted sizes are bounded before. */
#pragma once

#include "json.h"

/* Returns j, which is never NULL. */
json_t *json_need(json_t *j);

/* These take value over. */
void json_put(json_t *object, const char *key, json_t *value);
void json_append(json_t *array, json_t *value);

/* A string; every byte above 127 becomes '?' when s is not UTF-8, which is all that jansson takes. */
json_t *json_string_lossy(const char *s);
/* null for "". NULL when s is not UTF-8, as json_string(). */
json_t *json_string_or_null(const char *s);
