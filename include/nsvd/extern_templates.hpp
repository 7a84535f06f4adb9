// SPDX-License-Identifier: MIT
/// The solvers, compiled once for a program and not in every file that decomposes: define
/// `NSVD_EXTERN_TEMPLATES` for all files that include nsvd, and let one of them be
///
///     #include <nsvd/instantiate.hpp>
///
/// built with the same flags as the others. There is no such binary to install: object files built with
/// different `-m` flags have matrices of different alignment, and crash together.
#pragma once

#include "decompose.hpp"
#include "solver/deflated_eigen.hpp"

namespace nsvd::inline NSVD_ABI {

extern template class detail::projection_builder<float>;
extern template class detail::projection_builder<double>;
extern template class detail::deflated_eigen<double>;

}  // namespace nsvd::inline NSVD_ABI
