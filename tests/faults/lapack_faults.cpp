// SPDX-License-Identifier: MIT
// One wrapper for each LAPACKE function in detail/lapacke.hpp: CMakeLists.txt reads there which they are, so
// that one too few or too many does not link.
#include "lapack_faults.hpp"

#include <lapacke.h>

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <type_traits>
#include <utility>

namespace support {

namespace {

thread_local lapack_faults* active = nullptr;

/// m×n numbers that a routine writes.
template <class Number>
struct output {
    Number* data;
    lapack_int rows;
    lapack_int cols;
    lapack_int stride;
};
template <class Number>
output<Number> vector(Number* data, lapack_int size) {
    return {data, size, 1, size};
}

template <class Number>
void spoil(const output<Number>& out) {
    constexpr Number garbage =
        std::is_integral_v<Number> ? Number(-7) : std::numeric_limits<Number>::quiet_NaN();
    for (lapack_int j = 0; j < out.cols; ++j)
        std::fill_n(out.data + static_cast<std::ptrdiff_t>(j) * out.stride, out.rows, garbage);
}

template <class Call, class... Outputs>
lapack_int run(const char* routine, const Call& call, const Outputs&... outputs) {
    const int info = lapack_faults::info_for(routine);
    if (info == 0) return call();
    (spoil(outputs), ...);
    return info;
}

}  // namespace

lapack_faults::lapack_faults(rule fails) : fails_(std::move(fails)) {
    active = this;
}
lapack_faults::~lapack_faults() {
    active = nullptr;
}

int lapack_faults::info_for(std::string_view routine) {
    if (active == nullptr) return 0;
    ++active->by_routine_[std::string(routine)];
    return active->fails_(routine, active->calls_++);
}

}  // namespace support

// NOLINTBEGIN(bugprone-reserved-identifier): names of the linker's
#define NSVD_WRAP(routine, parameters, arguments, ...)                                         \
    extern "C" lapack_int __real_LAPACKE_##routine##_work parameters;                          \
    extern "C" lapack_int __wrap_LAPACKE_##routine##_work parameters;                          \
    extern "C" lapack_int __wrap_LAPACKE_##routine##_work parameters {                         \
        using namespace support;                                                               \
        return run(                                                                            \
            #routine, [&] { return __real_LAPACKE_##routine##_work arguments; }, __VA_ARGS__); \
    }
#define NSVD_WRAP_BOTH(s, Real)                                                                              \
    NSVD_WRAP(s##potrf, (int layout, char uplo, lapack_int n, Real* a, lapack_int lda),                      \
              (layout, uplo, n, a, lda), (output<Real>{a, n, n, lda}))                                       \
    NSVD_WRAP(s##sytrd,                                                                                      \
              (int layout, char uplo, lapack_int n, Real* a, lapack_int lda, Real* d, Real* e, Real* tau,    \
               Real* work, lapack_int lwork),                                                                \
              (layout, uplo, n, a, lda, d, e, tau, work, lwork), (output<Real>{a, n, n, lda}), vector(d, n), \
              vector(e, n - 1), vector(tau, n - 1))                                                          \
    NSVD_WRAP(s##stedc,                                                                                      \
              (int layout, char compz, lapack_int n, Real* d, Real* e, Real* z, lapack_int ldz, Real* work,  \
               lapack_int lwork, lapack_int* iwork, lapack_int liwork),                                      \
              (layout, compz, n, d, e, z, ldz, work, lwork, iwork, liwork), (output<Real>{z, n, n, ldz}),    \
              vector(d, n), vector(e, n - 1))                                                                \
    NSVD_WRAP(s##geqrf,                                                                                      \
              (int layout, lapack_int m, lapack_int n, Real* a, lapack_int lda, Real* tau, Real* work,       \
               lapack_int lwork),                                                                            \
              (layout, m, n, a, lda, tau, work, lwork), (output<Real>{a, m, n, lda}), vector(tau, n))        \
    NSVD_WRAP(s##orgqr,                                                                                      \
              (int layout, lapack_int m, lapack_int n, lapack_int k, Real* a, lapack_int lda,                \
               const Real* tau, Real* work, lapack_int lwork),                                               \
              (layout, m, n, k, a, lda, tau, work, lwork), (output<Real>{a, m, n, lda}))

NSVD_WRAP_BOTH(s, float)
NSVD_WRAP_BOTH(d, double)
NSVD_WRAP(dsyevd,
          (int layout, char jobz, char uplo, lapack_int n, double* a, lapack_int lda, double* w, double* work,
           lapack_int lwork, lapack_int* iwork, lapack_int liwork),
          (layout, jobz, uplo, n, a, lda, w, work, lwork, iwork, liwork), (output<double>{a, n, n, lda}),
          vector(w, n))
NSVD_WRAP(dsyev,
          (int layout, char jobz, char uplo, lapack_int n, double* a, lapack_int lda, double* w, double* work,
           lapack_int lwork),
          (layout, jobz, uplo, n, a, lda, w, work, lwork), (output<double>{a, n, n, lda}), vector(w, n))
NSVD_WRAP(dpocon,
          (int layout, char uplo, lapack_int n, const double* a, lapack_int lda, double anorm, double* rcond,
           double* work, lapack_int* iwork),
          (layout, uplo, n, a, lda, anorm, rcond, work, iwork), vector(rcond, 1))
NSVD_WRAP(dgeqp3,
          (int layout, lapack_int m, lapack_int n, double* a, lapack_int lda, lapack_int* jpvt, double* tau,
           double* work, lapack_int lwork),
          (layout, m, n, a, lda, jpvt, tau, work, lwork), (output<double>{a, m, n, lda}), vector(jpvt, n),
          vector(tau, std::min(m, n)))
// NOLINTEND(bugprone-reserved-identifier)
