// SPDX-License-Identifier: MIT
/// Build configuration: which backend this translation unit uses, and what it must not be compiled with.
///
/// `NSVD_USE_LAPACK` is defined by the CMake target `nsvd::nsvd` when the LAPACK backend was chosen, and by
/// nobody else: never by `__has_include`. The inline namespace carries the choice, so that translation units
/// with different backends can be linked into one program.
#pragma once

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) || \
    defined(__ASSOCIATIVE_MATH__) || defined(_M_FP_FAST)
#error "nsvd relies on NaN, Inf and the order of floating-point operations: compile without -ffast-math"
#endif

#if defined(NSVD_USE_LAPACK)
#define NSVD_ABI lapack_v0
#else
#define NSVD_ABI eigen_v0
#endif
