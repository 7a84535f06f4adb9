// expect: nsvd: not a rank policy: pass nsvd::compression\{0.3\}, nsvd::rank\{64\}
#include <nsvd/nsvd.hpp>

#if defined(NSVD_TWIN)
const nsvd::rank policy{2};
#else
const double policy = 0.3;
#endif
using result = decltype(nsvd::decompose(Eigen::MatrixXf(4, 3), {{nsvd::metric(), 1.0}}, policy));
