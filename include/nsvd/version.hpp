// SPDX-License-Identifier: MIT
/// The version of nsvd, said once: CMake, package recipes and docs read it from here.
#pragma once

/// The first part of the version.
#define NSVD_VERSION_MAJOR 0
/// The second.
#define NSVD_VERSION_MINOR 1
/// The third.
#define NSVD_VERSION_PATCH 0
/// All three, as text.
#define NSVD_VERSION "0.1.0"
