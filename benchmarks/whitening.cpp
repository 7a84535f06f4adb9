// SPDX-License-Identifier: MIT
/// What do the factors of a Gram matrix cost, next to the LAPACK routine inside?
#include "support/row.hpp"

#include <nsvd/whitening.hpp>

#include <string>

namespace {

using bench::dense;
using bench::Index;

/// `ours` and `theirs` get the Gram matrix.
template <class Ours, class Theirs>
void add(const std::string& what, Index n, double flops, Ours ours, Theirs theirs) {
    bench::add_row("whitening/" + what + "/" + std::to_string(n), flops < 1e11 ? 3 : 1, [=](bench::row& r) {
        const dense<double> gram = bench::problem_for({n, n, 1000.0}).calib.gram();
        dense<double> copy = gram;  // what theirs overwrites is made before the clock starts
        const bench::stopwatch watch;
        theirs(copy);
        const double lapack = watch.seconds();
        (void)r.time([&] { return ours(gram); });
        r.describe<double>(n, n, 0);
        r.rate<double>(flops, n);
        r.column("times_lapack", r.seconds() / lapack);
    });
}

}  // namespace

void bench::register_benchmarks(const options& o) {
    const auto cholesky = [](dense<double>& c) { require(potrf(c), "potrf"); };
    const auto eigen = [](dense<double>& c) { (void)syevd<double>(std::move(c)); };
    for (const Index n : {512, o.full ? 4096 : 1024}) {
        const double cube = static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
        const auto whiten = [](nsvd::whitening kind) {
            return [kind](const dense<double>& c) { return nsvd::whiten(c, kind); };
        };
        add(
            "cholesky_factor:dpotrf", n, cube / 3, [](const auto& c) { return nsvd::cholesky_factor(c); },
            cholesky);
        add("whiten_cholesky:dpotrf", n, cube / 3, whiten(nsvd::whitening::cholesky), cholesky);
        add(
            "eigen_factor:dsyevd", n, 9 * cube, [](const auto& c) { return nsvd::eigen_factor(c); }, eigen);
        if (!o.full) add("whiten_eigen:dsyevd", n, 9 * cube, whiten(nsvd::whitening::eigen), eigen);
    }
}
