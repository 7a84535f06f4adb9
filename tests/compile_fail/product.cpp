// expect: nsvd: not a matrix that can be read: pass a dense Eigen expression of float
#include <nsvd/nsvd.hpp>

#include <vector>

#if defined(NSVD_TWIN)
const Eigen::VectorXf x(3);
#else
const std::vector<float> x(3);
#endif
using result = decltype(nsvd::low_rank<float>() * x);
