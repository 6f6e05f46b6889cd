/* SPDX-License-Identifier: MIT */
/* answer: what the network half replies to each of its questions (message.h). */
#pragma once

#include "json.h"
#include "session.h"

/* Answers a batch of n questions, PROTOCOL_BATCH_MAX at most, in their order: ret[0..n-1], errors included. Those that ask
 * where a tag points are asked of the registry at the same time, the others one after the other. */
void answer_batch(struct session *s, json_t *const *questions, size_t n, json_t **ret);
