// SPDX-License-Identifier: MIT
// Any bytes are a layer, its inputs, a method with its options and a rank policy: there is an nsvd::error, or
// a result that is finite, orthonormal where it should be, of the rank and size it says, and no better than
// the best there is.
#include "byte_reader.hpp"
#include "support/reference_svd.hpp"

#include <nsvd/nsvd.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>
#include <vector>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using fuzz::byte_reader;
using fuzz::require;

/// One type for both, which compiles sooner.
struct by_spectrum {
    bool energy;
    double amount;
    std::optional<nsvd::index> operator()(const nsvd::spectrum& values, const nsvd::shape& s) const {
        return energy ? nsvd::energy{amount}(values, s) : nsvd::tolerance{amount}(values, s);
    }
};

enum class method { svd, asvd, nested, anchored, stages, count };

/// W in double over a power of two; what vanishes beside its largest entry is nothing to it.
template <class View>
MatrixXd normalized(const View& w, int& exponent) {
    MatrixXd values(w.rows, w.cols);
    for (Index j = 0; j < w.cols; ++j)
        for (Index i = 0; i < w.rows; ++i)
            values(i, j) = static_cast<double>(w.data[i * w.row_stride + j * w.col_stride]);
    std::frexp(values.cwiseAbs().maxCoeff(), &exponent);
    const int e = exponent;
    return values.unaryExpr([e](double v) { return std::ldexp(v, -e); });
}

template <class View, class Scalar>
void check(const View& w, const nsvd::low_rank<Scalar>& d, bool plain, bool projection) {
    constexpr double eps{std::numeric_limits<Scalar>::epsilon()};
    const Index m = w.rows, n = w.cols, k = d.rank();
    require(d.left.rows() == m && d.right.cols() == n && d.right.rows() == k);
    require(k >= 1 && k <= std::min(m, n));
    require(d.left.allFinite() && d.right.allFinite());
    Index parameters = k * (m + n), sum = 0;
    for (const auto& s : d.info.stages) {
        sum += s.rank;
        if (s.columns) parameters -= s.rank * s.rank;
        require(s.rank >= 0 && s.loss >= 0.0 && s.total >= 0.0 && s.gap == 0.0);
    }
    require(sum == k && d.parameters() == parameters);
    const auto& spectrum = d.info.spectrum;
    for (Index i = 0; i < spectrum.size(); ++i)
        require(spectrum(i) >= 0.0 && (i == 0 || spectrum(i) <= spectrum(i - 1)));
    if (projection) {
        const MatrixXd q = d.left.template cast<double>();
        require((q.transpose() * q - MatrixXd::Identity(k, k)).cwiseAbs().maxCoeff() <= 20 * eps);
    }
    if (!projection) return;
    int exponent = 0;
    const MatrixXd exact = normalized(w, exponent);
    const MatrixXd right =
        d.right.template cast<double>().unaryExpr([exponent](double v) { return std::ldexp(v, -exponent); });
    const double grain = std::ldexp(
        1.0, std::numeric_limits<Scalar>::min_exponent - std::numeric_limits<Scalar>::digits - exponent);
    const double rounding = 20 * eps * exact.norm() + std::sqrt(static_cast<double>(m * n)) * grain;
    const double found = (exact - d.left.template cast<double>() * right).norm();
    const Eigen::VectorXd values = support::jacobi_singular_values(exact);
    const double best = k < values.size() ? values.tail(values.size() - k).norm() : 0.0;
    require(found >= best - rounding);
    if (plain && d.info.status < nsvd::status::not_converged) require(found <= best * (1 + 1e-6) + rounding);
}

template <class View, class Calibration, class Policy>
void decompose(byte_reader& in, const View& w, const Calibration& calib, const Policy& policy) {
    const auto how = static_cast<method>(in.below(static_cast<int>(method::count)));
    const auto whitening = static_cast<nsvd::whitening>(in.below(3));
    const auto statistic = static_cast<nsvd::statistic>(in.below(2));
    const auto residual = static_cast<nsvd::residual>(in.below(2));
    const auto moments = static_cast<nsvd::moments>(in.below(2));
    const auto level = static_cast<nsvd::accuracy>(in.below(3));
    const double share = in.fraction(), alpha = 2 * in.fraction(), blend = in.flag() ? in.fraction() : 0.0;
    const bool projection = residual == nsvd::residual::svd;
    const auto use = [&](const auto& d, bool plain, bool orthonormal) {
        check(w, d, plain, orthonormal);
        require(!std::isnan(nsvd::plain_error(w, d)));
        try {
            require(!std::isnan(nsvd::weighted_error(w, d, calib)));
        } catch (const nsvd::error&) {
        }
        const auto p = nsvd::pivot(d);
        require(p.left.allFinite() && p.right.allFinite());
        require(p.parameters() == d.rank() * (w.rows + w.cols - d.rank()));
        const auto cut = d.truncate(1 + d.rank() / 2);
        require(cut.rank() == 1 + d.rank() / 2 || d.rank() == 1);
        require(cut.left.allFinite() && cut.right.allFinite());
    };
    switch (how) {
        case method::asvd:
            use(nsvd::asvd(w, calib, policy,
                           {.whitening = whitening,
                            .alpha = alpha,
                            .statistic = statistic,
                            .blend = blend,
                            .accuracy = level,
                            .moments = moments}),
                false, true);
            break;
        case method::nested:
            use(nsvd::nested(w, calib, policy,
                             {.whitening = whitening,
                              .share = share,
                              .residual = residual,
                              .alpha = alpha,
                              .statistic = statistic,
                              .blend = blend,
                              .accuracy = level,
                              .moments = moments}),
                false, projection);
            break;
        case method::anchored: {
            // W is not what is approximated.
            const auto d = nsvd::anchored(w, calib, policy,
                                          {.epsilon = blend,
                                           .share = share,
                                           .moments = moments,
                                           .residual = residual,
                                           .accuracy = level});
            require(d.left.allFinite() && d.right.allFinite());
            break;
        }
        case method::stages:
            use(nsvd::decompose(w,
                                {{nsvd::gram_metric(calib), share},
                                 {nsvd::column_selection{}, (1 - share) / 2},
                                 {nsvd::metric(), (1 - share) / 2}},
                                policy, {.accuracy = level}),
                false, false);
            break;
        default:
            use(nsvd::svd(w, policy, {.accuracy = level}), true, true);
    }
}

template <class Scalar>
void run(byte_reader& in) {
    const Index m = 1 + in.below(12), n = 1 + in.below(12), tokens = 1 + in.below(16);
    const int policy = in.below(4), rank = in.raw<std::int8_t>(), layout = in.below(3);
    const double amount = in.fraction();
    nsvd::calibration<Scalar> calib(n, static_cast<nsvd::moments>(in.below(2)));
    const auto w = in.matrix<Scalar>(m, n);
    const auto x = in.matrix<Scalar>(n, tokens);
    try {
        if (in.flag())
            calib.update(in.matrix<Scalar>(n, tokens), x);
        else
            calib.update(x);
    } catch (const nsvd::error&) {
    }
    // As it is, by rows, or the rows of a part of it.
    const Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> by_rows = w;
    const nsvd::strided_view<Scalar> views[] = {
        {w.data(), m, n, 1, m}, {by_rows.data(), m, n, n, 1}, {w.data(), (m + 1) / 2, n, 1, m}};
    const auto& view = views[layout];
    const nsvd::shape shape{view.rows, view.cols};
    switch (policy) {
        case 0:
            return decompose(
                in, view, calib,
                nsvd::rank{nsvd::compression{amount, static_cast<nsvd::storage>(rank & 1)}(shape)});
        case 1:
            return decompose(in, view, calib, nsvd::rank{rank});
        default:
            return decompose(in, view, calib, by_spectrum{policy == 2, amount});
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    byte_reader in(bytes, size);
    try {
        switch (in.below(4)) {
            case 0:
                run<float>(in);
                break;
            case 1:
                run<double>(in);
                break;
            case 2:
                run<Eigen::half>(in);
                break;
            default:
                run<Eigen::bfloat16>(in);
        }
    } catch (const nsvd::error&) {
    }
    return 0;
}
