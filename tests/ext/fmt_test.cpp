// SPDX-License-Identifier: MIT
// Results through fmt: the same text as through a stream.
#include "support/calibrated.hpp"
#include "support/catch.hpp"
#include "support/random.hpp"

#include <nsvd/ext/fmt.hpp>
#include <nsvd/nsvd.hpp>

#include <sstream>
#include <string>

using support::gaussian;

namespace {

template <class T>
void same_as_stream(const T& x) {
    std::ostringstream out;
    out << x;
    CHECK(fmt::format("{}", x) == out.str());
    CHECK(fmt::to_string(x) == out.str());
}

}  // namespace

TEST_CASE("fmt: what streams is formatted alike, with width and alignment", "[fmt]") {
    const Eigen::MatrixXd w = gaussian(12, 16, 1);
    const auto calib = support::calibrated(gaussian(16, 40, 2));
    const auto d = nsvd::nested(w, calib, nsvd::rank{4});
    same_as_stream(d);
    same_as_stream(d.info);
    same_as_stream(d.info.stages[0]);
    same_as_stream(d.info.status);
    same_as_stream(nsvd::pivot(d));
    same_as_stream(calib);
    same_as_stream(nsvd::gram_metric(calib));
    same_as_stream(nsvd::cholesky_factor(calib.gram()));
    same_as_stream(nsvd::similarity(calib, calib, 2));
    same_as_stream(nsvd::spectrum{.leading = {d.info.spectrum.data(), 3}});
    same_as_stream(nsvd::accuracy::fast);
    CHECK(fmt::format("[{:>10}]", nsvd::rank{64}) == "[   rank 64]");
    CHECK(fmt::format("[{:*<10}]", nsvd::rank{64}) == "[rank 64***]");
    CHECK(fmt::format("[{:^10}]", nsvd::status::ok) == "[    ok    ]");
}
