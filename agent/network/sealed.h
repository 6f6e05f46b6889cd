/* SPDX-License-Identifier: MIT */
/* sealed: the requests after which the process answers and ends. */
#pragma once

#include "session.h"

/* Whether the request is one of them, by its "op". */
bool sealed_is_op(const char *op);
/* Gives up the session but for its caller, and the rights of the process (seal.h), before it reads a byte of the request's
 * files. The session has answered nothing before. *ret: the answer, which the caller owns. */
int sealed_answer(struct session *s, const char *op, const json_t *question, json_t **ret,
		  struct error *ret_error) warn_unused;
