/* SPDX-License-Identifier: MIT */
#include "engine-internal.h"

static const struct json_filter_rules list_rules = {
	.keep = (const char *const[]){"*.Id", "*.Names", "*.State", "*.Status", "*.ImageID", NULL},
};

int engine_list(struct engine *e, const char *service, json_t **ret, struct error *ret_error)
{
	_cleanup_free_ char *filter =
		service ? xasprintf("{\"label\":[\"com.docker.compose.service=%s\"]}", service)
			: NULL;
	_cleanup_free_ char *escaped = filter ? engine_escape(filter) : NULL;
	_cleanup_free_ char *path = xasprintf("/containers/json?all=1%s%s",
					      escaped ? "&filters=" : "", escaped ? escaped : "");

	return engine_call(
		e, (struct call){"GET", path, .what = "list containers", .rules = list_rules}, ret,
		ret_error);
}
