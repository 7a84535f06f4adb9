// expect: nsvd: not a rank policy: pass nsvd::compression\{0.3\}, nsvd::rank\{64\}
#include <nsvd/nsvd.hpp>

#include <string>

#if defined(NSVD_TWIN)
const auto policy = [](const nsvd::shape& s) { return s.rows / 2; };
#else
const auto policy = [](const std::string& s) { return s.size(); };
#endif
using result = decltype(nsvd::svd(Eigen::MatrixXf(4, 3), policy));
