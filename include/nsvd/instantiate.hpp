// SPDX-License-Identifier: MIT
/// For one file of a program that is built with `NSVD_EXTERN_TEMPLATES`: what the others only declare
/// (extern_templates.hpp).
#pragma once

#include "extern_templates.hpp"

namespace nsvd::inline NSVD_ABI {

template class detail::projection_builder<float>;
template class detail::projection_builder<double>;
template class detail::deflated_eigen<double>;

}  // namespace nsvd::inline NSVD_ABI
