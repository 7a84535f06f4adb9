// SPDX-License-Identifier: MIT
/// The library's solvers, compiled once (solvers.cpp): in every file that decomposes they took most of the
/// time.
#pragma once

#include <nsvd/nsvd.hpp>

namespace nsvd::inline NSVD_ABI::detail {

extern template class projection_builder<float>;
extern template class projection_builder<double>;
extern template class deflated_eigen<double>;

}  // namespace nsvd::inline NSVD_ABI::detail
