// SPDX-License-Identifier: MIT
// The solvers, once for all files: in every file again they took most of the time.
#include <nsvd/instantiate.hpp>
