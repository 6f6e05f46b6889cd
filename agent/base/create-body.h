/* SPDX-License-Identifier: MIT */
/* create-body: the body that an operator wrote for a first container. */
#pragma once

#include "error.h"
#include "json.h"

/* -EKEYREJECTED: it cannot be used. What the engine alone knows is not checked. */
int create_body_check(const json_t *body, struct error *ret_error) warn_unused;
