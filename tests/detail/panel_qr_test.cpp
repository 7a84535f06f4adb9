// SPDX-License-Identifier: MIT
// QR a panel at a time against the Gram matrix and the matrix itself, multiplied out.
#include "support/catch.hpp"
#include "support/generate.hpp"

#include <nsvd/detail/panel_qr.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;
using support::generator;

constexpr double eps = std::numeric_limits<double>::epsilon();

/// A QR whose reflectors lie where `a` was, `rows` of it at a time.
struct panels_of_qr {
    MatrixXd r;
    std::vector<MatrixXd> reflectors;
    std::vector<VectorXd> tau;

    panels_of_qr(const MatrixXd& a, Index rows) : r(MatrixXd::Zero(a.cols(), a.cols())) {
        for (Index first = 0; first < a.rows(); first += rows) {
            reflectors.push_back(a.middleRows(first, std::min(rows, a.rows() - first)));
            tau.emplace_back(a.cols());
            nsvd::detail::absorb_panel(r, reflectors.back(), tau.back().data());
        }
    }

    /// `Q [C; 0]` for `[0; A] = Q [R; 0]`, zeros for the triangle before the first panel: the last step is
    /// undone first.
    [[nodiscard]] MatrixXd times(MatrixXd c) const {
        std::vector<MatrixXd> rows;
        for (std::size_t step = reflectors.size(); step-- > 0;) {
            rows.emplace_back(MatrixXd::Zero(reflectors[step].rows(), c.cols()));
            nsvd::detail::apply_panel(reflectors[step], tau[step].data(), c, rows.back());
        }
        MatrixXd product = c;
        for (std::size_t step = rows.size(); step-- > 0;) {
            product.conservativeResize(product.rows() + rows[step].rows(), Eigen::NoChange);
            product.bottomRows(rows[step].rows()) = rows[step];
        }
        return product;
    }
};

void check(const MatrixXd& a, Index rows) {
    const Index n = a.cols();
    CAPTURE(a.rows(), n, rows);
    const panels_of_qr qr(a, rows);
    CHECK(qr.r.isUpperTriangular(0.0));
    // Sums of squares of up to m numbers, n reflectors.
    const double bound = 10 * eps * static_cast<double>(n + 10);
    CHECK((qr.r.transpose() * qr.r - a.transpose() * a).norm() <= bound * a.squaredNorm());
    const MatrixXd product = qr.times(qr.r);
    CHECK(product.topRows(n).norm() <= bound * a.norm());
    CHECK((product.bottomRows(a.rows()) - a).norm() <= bound * a.norm());
    const MatrixXd q = qr.times(MatrixXd::Identity(n, n));
    CHECK((q.transpose() * q - MatrixXd::Identity(n, n)).norm() <= bound * std::sqrt(static_cast<double>(n)));
}

}  // namespace

TEST_CASE("panel QR: any heights of panels", "[detail]") {
    generator g(1);
    for (const Index n : {1, 2, 63, 64, 65, 130})
        for (const Index m : {n, n + 1, 3 * n + 7})
            for (const Index rows : {Index{1}, Index{5}, n, n + 3, m})
                if (m / rows <= 100) check(g.gaussian(m, n), rows);
}

TEST_CASE("panel QR: graded, dependent and vanishing columns", "[detail]") {
    generator g(2);
    MatrixXd a = g.gaussian(90, 20);
    for (Index j = 0; j < 20; ++j)
        a.col(j) *= std::pow(10.0, -static_cast<double>(j));
    check(a, 16);
    a.col(3) = a.col(2);
    a.col(7).setZero();
    check(a, 16);
    a.topRows(50).setZero();  // the first panels have nothing
    check(a, 16);
    check(MatrixXd::Zero(40, 6), 7);
    check(1e70 * g.gaussian(60, 9), 11);
    check(1e-70 * g.gaussian(60, 9), 11);
}

TEST_CASE("panel QR: fewer rows than columns", "[detail]") {
    generator g(3);
    check(g.gaussian(9, 20), 4);
    check(g.gaussian(1, 70), 1);
}
