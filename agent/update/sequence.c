/* SPDX-License-Identifier: MIT */
#include "sequence.h"

#include "engine.h"
#include "recreate.h"

/* As compose wrote them; NULL: it did not make the container. */
struct labels {
	char *project, *service;
	char *depends_on; /* "db:service_healthy:false,cache:service_started:true" */
};

static char *copy_label(const json_t *container, const json_t *image, const char *key)
{
	const char *text = recreate_own_label(container, image, key);

	return text ? xstrdup(text) : NULL;
}

static struct labels read_labels(struct engine *e, const char *name)
{
	_cleanup_json_ json_t *container = NULL, *image = NULL;
	struct labels l = {0};
	struct error ignored;

	if (engine_inspect_container(e, name, &container, &ignored) < 0 ||
	    !recreate_own_label(container, NULL, "com.docker.compose.project") ||
	    engine_inspect_image(e, json_get_string(container, "Image"), &image, &ignored) < 0)
		return l;
	l.project = copy_label(container, image, "com.docker.compose.project");
	l.service = copy_label(container, image, "com.docker.compose.service");
	l.depends_on = copy_label(container, image, "com.docker.compose.depends_on");
	return l;
}

static bool depends_on(const struct labels *l, const struct labels *on)
{
	size_t n;

	if (!l->depends_on || !on->service || !streq_null(l->project, on->project))
		return false;
	for (const char *s = l->depends_on; *s; s += s[n] ? n + 1 : n) {
		size_t service = strcspn(s, ":,");

		n = strcspn(s, ",");
		if (strlen(on->service) == service && strncmp(s, on->service, service) == 0)
			return true;
	}
	return false;
}

static void add_labels(const struct task *task, struct sequence *s)
{
	size_t n = task->config->n_containers;
	_cleanup_free_ struct labels *labels = xcalloc(n, sizeof(*labels));
	_cleanup_engine_ struct engine *engine = NULL;
	struct error ignored;

	if (engine_open(task->config->engine, task->cancel, &engine, &ignored) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		labels[i] = read_labels(engine, task->config->containers[i].name);
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < n; j++) {
			if (j == i || !depends_on(&labels[i], &labels[j]))
				continue;
			s->after = xrealloc(s->after, (s->n_after + 1) * sizeof(*s->after));
			s->after[s->n_after++] = (struct dependency){.node = i, .before = j};
		}
	}
	for (size_t i = 0; i < n; i++) {
		free(labels[i].project);
		free(labels[i].service);
		free(labels[i].depends_on);
	}
}

void sequence_find(const struct task *task, struct sequence *ret)
{
	const struct config *c = task->config;
	size_t n_circle, n_configured;

	*ret = (struct sequence){.order = xcalloc(c->n_containers + 1, sizeof(*ret->order))};
	ret->n_after = n_configured = config_dependencies(c, &ret->after);
	add_labels(task, ret);
	if (order_sort(c->n_containers, ret->after, ret->n_after, ret->order, &n_circle) == 0)
		return;
	ret->fault = config_circle(c, ret->order, n_circle);
	ret->n_after = n_configured;
	/* The configuration was checked. */
	if (order_sort(c->n_containers, ret->after, ret->n_after, ret->order, &n_circle) < 0)
		abort();
}

void sequence_free(struct sequence *s)
{
	free(s->order);
	free(s->after);
	free(s->fault);
}
