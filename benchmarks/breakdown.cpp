// SPDX-License-Identifier: MIT
/// Where does the time of one call go, and how long do the kernels take that it could be made of?
#include "support/row.hpp"

#include <nsvd/nsvd.hpp>

#include <string>

namespace {

using bench::dense;
using bench::Index;

template <class Scalar>
std::string suffix(Index n) {
    return std::string("/") + bench::scalar_name<Scalar>() + "/" + std::to_string(n);
}

template <class Scalar>
void add_call(Index n, nsvd::accuracy accuracy, const std::string& level) {
    bench::add_row("call/nested/" + level + suffix<Scalar>(n), 3, [=](bench::row& r) {
        const bench::problem& p = bench::problem_for({n, n, 1000.0});
        const dense<Scalar> w = p.weights.template cast<Scalar>();
        const auto d =
            r.time([&] { return nsvd::nested(w, p.calib, nsvd::compression{0.3}, {.accuracy = accuracy}); });
        r.describe<Scalar>(n, n, d.rank());
        const double product = bench::product_seconds<Scalar>(n);
        r.column("products", r.seconds() / product);
        double staged = 0.0;
        std::string solvers;
        int number = 0;
        for (const nsvd::stage_info& s : d.info.stages) {
            const std::string stage = "stage" + std::to_string(++number);
            r.column(stage + "_products", s.seconds / product);
            solvers += (solvers.empty() ? "" : "; ") + std::to_string(number) + ": rank " +
                       std::to_string(s.rank) + " in " + s.metric + " by " + s.solver;
            staged += s.seconds;
        }
        // What is in `info.seconds` and in no stage, and what is in the call and not in `info.seconds`:
        // reading W, the factor of the metric, the right factor, rounding to the scalar.
        r.column("between_products", (d.info.seconds - staged) / product);
        r.column("outside_products", (r.seconds() - d.info.seconds) / product);
        r.text("solver", solvers);
    });
}

/// `prepare(a)` is not timed and gives what `run` gets; `a` is symmetric positive definite.
template <class Scalar, class Prepare, class Run>
void add_kernel(const std::string& name, Index n, double flops, Prepare prepare, Run run) {
    bench::add_row("kernel/" + name + suffix<Scalar>(n), n <= 1024 ? 3 : 1, [=](bench::row& r) {
        // The Gram matrix of the weights: its spectrum is flat, so that nothing deflates and flatters
        // `stedc`.
        const dense<Scalar> w = bench::problem_for({n, n, 1000.0}).weights.template cast<Scalar>();
        auto input = prepare(bench::multiply<Scalar>(w, false, w, true));
        (void)r.time([&] {
            run(input);
            return 0;
        });
        r.describe<Scalar>(n, n, 0);
        r.rate<Scalar>(flops, n);
    });
}

template <class Scalar>
void add_kernels(Index n) {
    const double cube = static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
    const Index k = nsvd::compression{0.3}({n, n});
    const double part = static_cast<double>(k) / static_cast<double>(n);
    using tridiagonal = bench::tridiagonal<Scalar>;
    struct pair {
        dense<Scalar> a;
        dense<Scalar> c;
    };
    struct reflected {
        tridiagonal t;
        dense<Scalar> z;
    };
    const auto same = [](const dense<Scalar>& a) { return a; };
    const auto with_result = [](const dense<Scalar>& a) {
        return pair{a, dense<Scalar>::Zero(a.rows(), a.cols())};
    };
    const auto reduced = [](const dense<Scalar>& a) { return bench::sytrd<Scalar>(a); };

    add_kernel<Scalar>("gemm", n, 2 * cube, with_result,
                       [](pair& p) { bench::multiply_into<Scalar>(p.c, p.a, false, p.a, false); });
    add_kernel<Scalar>("syrk", n, cube, with_result,
                       [](pair& p) { bench::syrk_into<Scalar>(p.c, p.a, false); });
    add_kernel<Scalar>("potrf", n, cube / 3, same,
                       [](dense<Scalar>& a) { bench::require(bench::potrf(a), "potrf"); });
    add_kernel<Scalar>("sytrd", n, 4 * cube / 3, same,
                       [](dense<Scalar>& a) { (void)bench::sytrd<Scalar>(std::move(a)); });
    add_kernel<Scalar>("stedc", n, 4 * cube / 3, reduced, [](tridiagonal& t) { (void)bench::stedc(t); });
    add_kernel<Scalar>("stemr_k", n, 0, reduced, [k](tridiagonal& t) { (void)bench::stemr(t, k); });
    add_kernel<Scalar>(
        "ormtr_k", n, 2 * cube * part,
        [k](const dense<Scalar>& a) {
            return reflected{bench::sytrd<Scalar>(a), dense<Scalar>::Random(a.rows(), k)};
        },
        [](reflected& p) { bench::ormtr(p.t, p.z); });
}

template <class Scalar>
void add_all(Index n) {
    add_call<Scalar>(n, nsvd::accuracy::balanced, "balanced");
    add_call<Scalar>(n, nsvd::accuracy::exact, "exact");
    add_kernels<Scalar>(n);
}

}  // namespace

void bench::register_benchmarks(const options& o) {
    const Index n = o.full ? 4096 : 1024;
    add_all<float>(n);
    add_all<double>(n);
}
