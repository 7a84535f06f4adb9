// SPDX-License-Identifier: MIT
// Cases that failed once, as they were printed.
#include "layer.hpp"
#include "stages.hpp"

#include <nsvd/nsvd.hpp>

#include <sstream>

TEST_CASE("cases that failed once", "[generated]") {
    using namespace generated;
    const layer_case cases[] = {
        // A decomposition with columns was not certified, though its stages with a metric were.
        {.method = method::columns, .m = 3, .n = 4, .tokens = 8, .k = 2},
        // Q held directions twice: what its rounding to float leaves of W was taken for more directions.
        {.method = method::cholesky, .m = 3, .n = 3, .k = 3, .scalar = scalar::f16, .zero_rows = 1},
        {.method = method::nested,
         .m = 4,
         .n = 6,
         .tokens = 2,
         .k = 4,
         .scalar = scalar::f32,
         .zero_rows = 2},
    };
    for (const layer_case& c : cases) {
        std::ostringstream text;
        text << c;
        CAPTURE(text.str());
        try {
            with_matrices(c, [&](const auto& l) {
                check_stages(c, l, decompose(c, l.w_in.view(), l.calib, nsvd::rank{c.k}));
            });
            SUCCEED();
        } catch (const rc::detail::CaseResult& result) {
            FAIL_CHECK(result.description);
        }
    }
}
