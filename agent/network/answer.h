/* SPDX-License-Identifier: MIT */
/* answer: answers the requests of message.h. */
#pragma once

#include "json.h"
#include "session.h"

/* Answers a batch of n questions, at most PROTOCOL_BATCH_MAX, in their order: ret[0..n-1], errors included. The digests of
 * tags are requested at the same time, everything else one after the other. */
void answer_batch(struct session *s, json_t *const *questions, size_t n, json_t **ret);
