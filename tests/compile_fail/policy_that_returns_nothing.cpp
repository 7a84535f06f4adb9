// expect: nsvd: not a rank policy: pass nsvd::compression\{0.3\}, nsvd::rank\{64\}.*that returns a rank
#include <nsvd/nsvd.hpp>

#if defined(NSVD_TWIN)
const auto policy = [](const nsvd::shape& s) { return s.rows / 2; };
#else
const auto policy = [](const nsvd::shape&) {};
#endif
using result = decltype(nsvd::nested(Eigen::MatrixXf(4, 3), nsvd::calibration<float>(3), policy));
