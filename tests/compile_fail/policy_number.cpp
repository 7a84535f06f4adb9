// expect: nsvd: not a rank policy: pass nsvd::compression\{0.3\}, nsvd::rank\{64\}
#include <nsvd/nsvd.hpp>

#if defined(NSVD_TWIN)
const nsvd::rank policy{2};
#else
const int policy = 2;
#endif
using result = decltype(nsvd::svd(Eigen::MatrixXf(4, 3), policy));
