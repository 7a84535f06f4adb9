// SPDX-License-Identifier: MIT
/// What compilers say where something else is passed for a calibration: overloads that nothing can call, so
/// that `requires { nsvd::asvd(w, x, policy); }` stays false, and whose constraint says what is wanted.
#pragma once

#include "../anchored.hpp"
#include "../asvd.hpp"
#include "../calibration.hpp"
#include "../low_rank.hpp"
#include "../matrix.hpp"
#include "../metric.hpp"
#include "../nested.hpp"

namespace nsvd::inline NSVD_ABI {
namespace detail {

template <class Scalar>
void take_calibration(const calibration<Scalar>&);

template <class T>
concept any_calibration = requires(const T& t) {
    take_calibration(t);
};

/// Met by nothing: for what is no calibration it says so.
template <class T>
concept no_calibration =
    !any_calibration<T> &&
    holds(any_calibration<T>,
          "nsvd: not a calibration: gather the inputs X of the layer, a column a token, by "
          "nsvd::calibration<float> c(X.rows()); c.update(X); and pass c");

}  // namespace detail

template <class W, detail::no_calibration Calibration, class Policy>
void asvd(const W&, const Calibration&, const Policy&, const asvd_options& = {});
template <class W, detail::no_calibration Calibration, class Policy>
void nested(const W&, const Calibration&, const Policy&, const nested_options& = {});
template <class W, detail::no_calibration Calibration, class Policy>
void anchored(const W&, const Calibration&, const Policy&, const anchored_options& = {});
template <class W, class Approximation, detail::no_calibration Calibration>
void weighted_error(const W&, const Approximation&, const Calibration&);
template <detail::no_calibration Calibration>
void gram_metric(const Calibration&, whitening = {}, double = {});
template <detail::no_calibration Calibration>
void diagonal_metric(const Calibration&, double = {}, statistic = {});

}  // namespace nsvd::inline NSVD_ABI
