// SPDX-License-Identifier: MIT
#include "solvers.hpp"

namespace nsvd::inline NSVD_ABI::detail {

template class projection_builder<float>;
template class projection_builder<double>;
template class deflated_eigen<double>;

}  // namespace nsvd::inline NSVD_ABI::detail
