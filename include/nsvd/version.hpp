// SPDX-License-Identifier: MIT
/// The version of nsvd, said once: CMake, package recipes and docs read it from here.
#pragma once

#define NSVD_VERSION_MAJOR 0
#define NSVD_VERSION_MINOR 1
#define NSVD_VERSION_PATCH 0
#define NSVD_VERSION "0.1.0"
