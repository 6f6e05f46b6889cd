# SPDX-License-Identifier: MIT
"""Features that an engine lacks, and the tests that need them: they are skipped on that engine, with the reason.
"test_FILE::test_NAME", one case of it, "test_FILE::test_NAME[CASE]", or all of "test_FILE"."""

COMPOSE = {
    "Debian 12's compose wants ContainerConfig, which no engine since Docker 25 tells": [
        "test_compose::test_a_project_goes_on_as_before[bookworm]",
        "test_compose::test_the_successor_is_as_compose_makes_it[bookworm]",
        "test_compose::test_operator_recreates_and_pulls[bookworm]",
        "test_compose::test_profile_and_one_shot[bookworm]",
        "test_compose::test_service_in_anothers_network[bookworm]",
        "test_compose::test_operator_comes_in_between[bookworm-up -d --force-recreate-on trial]"],
}

TREE = {
    "a mount that is made later does not reach its namespace": ["test_host::test_a_disk_that_was_unmounted"]}

EXPECTED_SKIPS = {
    "bookworm": TREE,
    "trixie": {**COMPOSE, **TREE},
    "trixie-containerd": {**COMPOSE, **TREE},
    "sid": {**COMPOSE, **TREE},
    "sid-containerd": {**COMPOSE, **TREE},
    "sid-minimum": {
        **COMPOSE, **TREE,
        "takes no API version older than 1.44": ["test_versions::test_oldest_version_that_is_spoken"],
    },
    "sid-cgroup2": {
        **COMPOSE, **TREE,
        "the controllers are at work on cgroup v1 here, and v2 has none: the engine takes limits out of "
        "HostConfig when a container starts": ["test_recreate::test_successor"],
    },
    "podman": {
        **TREE,
        "it has no containerd that could keep something of a start": ["test_stale"],
        "its Docker API does not tell devices": [
            "test_host::test_an_unplugged_usb_device_leaves_the_container_running",
            "test_host::test_a_device_that_is_an_empty_directory_now",
            "test_host::test_the_device_goes_in_the_middle_and_comes_back",
            "test_host::test_a_failed_container_whose_device_is_gone_blames_no_digest",
            "test_host::test_a_sidecar_whose_device_is_unplugged"],
        "the engine with bridges is a dockerd": ["test_host_network"],
        "a HEALTHCHECK counts in images of docker's format only, and systemd runs it (test_podman has "
        "it)": [
            "test_update::test_healthy_container_passes_by_its_own_check",
            "test_rollback::test_bad_version[unhealthy]",
            "test_names::test_after_a_rollback_the_old_one_was_started_under_its_name[sick]",
            "test_time::test_a_health_check_that_comes_after_the_health_period_is_waited_for",
            "test_time::test_the_operators_own_times_come_before_those_of_the_image",
            "test_time::test_failures_within_the_start_period_are_waited_out"],
        "its containers run on without its service, and conmon starts them again": [
            "test_stopped::test_an_unplugged_device_is_told_at_each_poll",
            "test_stopped::test_a_container_that_lost_its_device_is_updated",
            "test_stopped::test_an_app_that_removes_its_own_program_gets_its_fix"],
        "a stop between two restarts leaves no mark": [
            "test_stopped::test_a_crash_loop_that_somebody_stopped_is_left_alone"],
        "it loads only images of its own platform": ["test_load::test_an_image_of_another_platform"],
        "its pull tells nothing about layers": [
            "test_load::test_a_pull_that_has_something_to_come_ends"],
        "an image's name is told in full, however it was written": [
            "test_names::test_the_image_is_written_as_the_operator_wrote_it"],
        "no links": ["test_recreate::test_successor[links]",
                     "test_recreate::test_successor[network-link]"],
        "the Docker API's MacAddress is ignored": [
            "test_recreate::test_successor[mac]", "test_recreate::test_successor[network-full]"],
        "ports that the engine chose are told like those that were asked for, and stay": [
            "test_recreate::test_successor[ports]", "test_recreate::test_successor[all-ports]"],
    },
}


def reason(engine, module, test):
    """The reason why a test, with its case, cannot run on an engine, or None."""
    names = {module, f"{module}::{test}", f"{module}::{test.partition('[')[0]}"}
    for why, tests in EXPECTED_SKIPS.get(engine, {}).items():
        if names.intersection(tests):
            return why
    return None
