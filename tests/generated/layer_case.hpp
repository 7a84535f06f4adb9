// SPDX-License-Identifier: MIT
/// A layer and how it is decomposed, as a few plain values that RapidCheck draws and makes simpler.
#pragma once

#include "support/generate.hpp"

#include <Eigen/Core>

#include <cstdint>
#include <iosfwd>
#include <rapidcheck.h>
#include <vector>

namespace generated {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;
using support::shape_of_spectrum;

enum class scalar : std::uint8_t { f64, f32, f16, bf16 };

/// How the numbers lie in memory; what lies between them is NaN.
enum class layout : std::uint8_t { columns, rows, block, strided };

enum class method : std::uint8_t {
    svd,
    diagonal,      ///< ASVD-0
    diagonal_max,  ///< the same with the largest |x|
    cholesky,      ///< ASVD-I
    eigen,         ///< ASVD-II
    blended,
    central,  ///< ASVD-I about the mean
    nested,   ///< NSVD-I
    columns,  ///< NID-I
    anchored
};

/// Whoever fails is printed as an initializer for `regressions_test.cpp`: what is not named has the value it
/// has here, which is also the simplest.
struct layer_case {
    generated::method method = method::svd;
    Index m = 1, n = 1, tokens = 1;
    Index k = 1;      ///< rank, cut to min(m, n)
    int share = 500;  ///< of the first stage, in thousandths
    generated::scalar scalar = scalar::f64;
    generated::layout layout = layout::columns;
    shape_of_spectrum spectrum = shape_of_spectrum::ordinary;  ///< of W
    int condition = 0;                                         ///< of X, as a power of ten
    int w_scale = 0, x_scale = 0;                              ///< powers of two
    Index outliers = 0;                                        ///< channels that are 1000 times the others
    Index dead_channels = 0;                                   ///< inputs that are always 0
    Index constant_channels = 0;                               ///< inputs that are always 3
    Index equal_columns = 0;                                   ///< of W, beside the first
    Index zero_rows = 0;                                       ///< of W
    Index tiny_columns = 0;                                    ///< of W, 2^-60 of the others
    std::uint64_t seed = 1;

    [[nodiscard]] Index full_rank() const { return std::min(m, n); }
    /// floor(share·k + ½), at least 1, in integers.
    [[nodiscard]] Index first_rank() const { return std::clamp<Index>((share * k + 500) / 1000, 1, k); }
};

/// `{.method = method::nested, .m = 3, .n = 2}`
std::ostream& operator<<(std::ostream& out, const layer_case& c);

/// A case from anywhere in the space; `size` from 0 to 100 bounds the shape.
[[nodiscard]] layer_case draw(support::generator& g, int size);

/// Cases that differ from this one in one value that is simpler, the boldest steps first.
[[nodiscard]] std::vector<layer_case> simpler(const layer_case& c);

}  // namespace generated

template <>
struct rc::Arbitrary<generated::layer_case> {
    static Gen<generated::layer_case> arbitrary() {
        return [](const Random& random, int size) {
            support::generator g(Random(random).next());
            return shrinkable::shrinkRecur(generated::draw(g, size), [](const generated::layer_case& c) {
                return seq::fromContainer(generated::simpler(c));
            });
        };
    }
};
