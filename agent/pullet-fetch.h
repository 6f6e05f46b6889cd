/* SPDX-License-Identifier: MIT */
/* pullet-fetch: the network half's main(). It lies in pullet-update's file and goes by its own name. */
#pragma once

int pullet_fetch(int argc, char **argv);
