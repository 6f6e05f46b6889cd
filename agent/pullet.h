/* SPDX-License-Identifier: MIT */
/* pullet: the command's main(). It lies in pulletd's file and goes by its own name. */
#pragma once

int pullet(int argc, char **argv);
