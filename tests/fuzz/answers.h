/* SPDX-License-Identifier: MIT */
/* answers: the functions of http.h without libcurl, for targets above it. Each request gets the next answer of the
 * input. Answers end with a form feed, and each is
 *
 *	STATUS [PIECE [CODE]]
 *	Name: value
 *
 *	BODY
 *
 * A streamed body comes in pieces of PIECE bytes, all at once without one. With CODE, a negative errno, the request
 * fails behind the body. Without a status no server answers. "=N" repeats the Nth answer of the input, from 0 on. */
#pragma once

#include "engine.h"
#include "http.h"

#define ANSWERS_REQUESTS_MAX 300

/* Begins with the first answer of data, which stays the caller's. With again, the last answer is followed by the first
 * one, so that a program that repeats itself does not end; more than ANSWERS_REQUESTS_MAX requests then, or after the last answer, abort. on_request,
 * which may be NULL, checks each request. */
void answers_begin(const uint8_t *data, size_t n, bool again,
		   void (*on_request)(const struct http_request *request));
/* Opens an engine and begins. letter: 'd' Docker 20.10, 'm' the newest, 'p' podman; for others the first answer is the
 * engine's version. Errors as engine_open(). */
int answers_open_engine(char letter, const uint8_t *data, size_t n, struct engine **ret,
			struct error *ret_error) warn_unused;
/* The next answer as a line of the network half. Without a status -EPIPE. */
int answers_next_json(json_t **ret, struct error *ret_error) warn_unused;
/* Of the next answer's body, as if the caller knew it. */
struct digest answers_next_digest(void);
/* The first line of data, which is not an answer: it is cut off. Empty if there is none. Caller frees. */
char *answers_take_line(const uint8_t **data, size_t *n);

/* Aborts unless text is printable ASCII. */
void answers_check_text(const char *text);
/* Aborts unless e is the error of a function that returned code, with a printable text. */
void answers_check_error(const struct error *e, int code);
