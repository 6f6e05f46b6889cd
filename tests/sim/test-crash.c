/* SPDX-License-Identifier: MIT */
/* Faults at every change of the world, on both sides of it, alone and in pairs: afterwards one more
 * pass brings everything to where it belongs. Prints how many trials there were. */
#include <stdio.h>

#include "sim.h"

static const struct sim_setup setups[] = {
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_SERVES},
	{.policy = "unless-stopped", .old_nature = SIM_SERVES, .new_nature = SIM_SERVES},
	{.policy = "no", .old_nature = SIM_SERVES, .new_nature = SIM_SERVES},
	{.policy = "on-failure", .old_nature = SIM_SERVES, .new_nature = SIM_SERVES},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_FAILS},
	{.policy = "unless-stopped", .old_nature = SIM_SERVES, .new_nature = SIM_FAILS},
	{.policy = "no", .old_nature = SIM_SERVES, .new_nature = SIM_FAILS},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_WONT_START},
	{.policy = "unless-stopped", .old_nature = SIM_SERVES, .new_nature = SIM_WONT_START},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_SICK},
	{.policy = "always", .old_nature = SIM_HEALTHY, .new_nature = SIM_HEALTHY},
	{.policy = "unless-stopped", .old_nature = SIM_HEALTHY, .new_nature = SIM_SICK},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_KILLS_HOST},
	{.policy = "unless-stopped", .old_nature = SIM_SERVES, .new_nature = SIM_KILLS_HOST},
	{.policy = "no", .old_nature = SIM_FINISHES, .new_nature = SIM_FINISHES},
	{.policy = "no", .old_nature = SIM_FINISHES, .new_nature = SIM_FAILS},
	{.policy = "on-failure", .old_nature = SIM_FINISHES, .new_nature = SIM_FINISHES},
	{.policy = "no", .old_nature = SIM_FINISHES, .new_nature = SIM_WONT_START},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_SERVES, .first = true},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_FAILS, .first = true},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_HEALTHY, .first = true},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_WONT_START, .first = true},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_SERVES, .follower = true},
	{.policy = "no", .old_nature = SIM_SERVES, .new_nature = SIM_SERVES, .follower = true},
	{.policy = "unless-stopped",
	 .old_nature = SIM_SERVES,
	 .new_nature = SIM_FAILS,
	 .follower = true},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_SICK, .follower = true},
	{.policy = "always",
	 .old_nature = SIM_SERVES,
	 .new_nature = SIM_SERVES,
	 .follower = true,
	 .allergic = true},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_SERVES, .rollback = true},
	{.policy = "no", .old_nature = SIM_FINISHES, .new_nature = SIM_FINISHES, .rollback = true},
	{.policy = "unless-stopped",
	 .old_nature = SIM_HEALTHY,
	 .new_nature = SIM_SICK,
	 .rollback = true},
	{.policy = "always",
	 .old_nature = SIM_SERVES,
	 .new_nature = SIM_WONT_START,
	 .rollback = true},
	{.policy = "always",
	 .old_nature = SIM_SERVES,
	 .new_nature = SIM_SERVES,
	 .follower = true,
	 .rollback = true},
};

struct fault {
	unsigned int at;
	bool after;
	enum sim_fault kind;
};

static unsigned long trials, failures;

static bool is_good(const struct sim_setup *s)
{
	if (s->allergic)
		return false;
	switch (s->new_nature) {
	case SIM_SERVES:
	case SIM_FINISHES:
	case SIM_HEALTHY:
		return true;
	case SIM_FAILS:
	case SIM_WONT_START:
	case SIM_SICK:
	case SIM_KILLS_HOST:
		return false;
	}
	return false;
}

static void complain(size_t setup, const struct fault *f, size_t n, const char *what)
{
	static const char *const kinds[] = {"crash", "power cut", "lost record"};

	if (++failures > 20)
		return;
	printf("setup %zu (%s, nature %d)", setup, setups[setup].policy, setups[setup].new_nature);
	for (size_t i = 0; i < n; i++)
		printf(", %s %s change %u", kinds[f[i].kind], f[i].after ? "after" : "before",
		       f[i].at);
	printf(": %s\n", what);
}

/* Passes until one ends by itself. A host that is taken down by the new image counts as no fault of
 * ours, so there may be several more of them. */
static bool pass_until_done(struct result *ret)
{
	for (int i = 0; i < 8; i++) {
		if (sim_pass(ret))
			return true;
	}
	return false;
}

/* Faults one after the other, each in the pass after the one before; then one undisturbed. */
static void trial(size_t setup, const struct fault *f, size_t n)
{
	const struct sim_setup *s = &setups[setup];
	struct result result = {0};
	const char *wrong;
	bool lost = false, cut = false, done, current = is_good(s) != s->rollback;

	trials++;
	sim_reset(s);
	for (size_t i = 0; i < n; i++) {
		sim_plant(f[i].at, f[i].after, f[i].kind);
		(void)sim_pass(&result);
		lost |= sim_struck() && f[i].kind == SIM_LOSE_RECORD;
		cut |= sim_struck() && f[i].kind == SIM_POWER_CUT;
	}
	sim_plant(0, false, SIM_CRASH);
	done = pass_until_done(&result);
	wrong = sim_broken_promise();
	if (!done)
		wrong = "no pass came to its end";
	else if (strstr(result.reason, "no end after"))
		wrong = "a pass went round in circles";
	else if (!wrong && !lost)
		wrong = sim_verify_end(is_good(s));
	/* A lost record may cost the memory of a failed release: one of the two serves all the same. */
	if (!wrong && lost && !s->first && !sim_serves() && !(cut && streq(s->policy, "no")))
		wrong = "nothing serves after the record was lost";
	/* Nor is an image that may be torn taken for a bad one. */
	if (!wrong && lost && is_good(s) && !s->rollback)
		wrong = sim_verify_end(true);
	if (!wrong && done) {
		sim_plant(0, false, SIM_CRASH);
		/* The error of a rollback is forgotten once all is well. */
		if (s->rollback)
			(void)sim_pass(&result);
		(void)sim_saves();
		(void)sim_pass(&result);
		if (!lost && sim_saves() != 0)
			wrong = "an idle pass writes";
		else if (!lost && current && result.outcome != OUTCOME_UP_TO_DATE)
			wrong = "not up-to-date at the end";
		else if (!lost && !current && result.outcome != OUTCOME_REFUSED)
			wrong = "the bad digest was not refused";
	}
	if (wrong)
		complain(setup, f, n, wrong);
}

static unsigned int count_changes(size_t setup)
{
	struct result result = {0};

	sim_reset(&setups[setup]);
	sim_plant(0, false, SIM_CRASH);
	(void)sim_pass(&result);
	return sim_changes();
}

/* step: every how many pairs one is tried. */
static void explore(size_t setup, unsigned int step)
{
	unsigned int changes = count_changes(setup), pick = (unsigned int)setup;
	struct fault f[2];

	trial(setup, NULL, 0);
	for (unsigned int i = 0; i < changes * 6; i++) {
		f[0] = (struct fault){i / 6 + 1, i % 2, (enum sim_fault)(i / 2 % 3)};
		trial(setup, f, 1);
		for (unsigned int j = 0; j < (changes + 8) * 6; j++) {
			if (++pick % step != 0)
				continue;
			f[1] = (struct fault){j / 6 + 1, j % 2, (enum sim_fault)(j / 2 % 3)};
			/* Losing the record twice is losing every memory on operation. */
			if (f[0].kind != SIM_LOSE_RECORD || f[1].kind != SIM_LOSE_RECORD)
				trial(setup, f, 2);
		}
	}
}

int main(int argc, char **argv)
{
	unsigned int step = argc > 1 && streq(argv[1], "--all") ? 1 : 199;

	for (size_t i = 0; i < ARRAY_SIZE(setups); i++)
		explore(i, step);
	printf("%zu setups, %lu trials, %lu failed\n", ARRAY_SIZE(setups), trials, failures);
	return failures ? 1 : 0;
}
