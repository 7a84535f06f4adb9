// expect: nsvd: not a scalar that can be read: use float, double, Eigen::half or Eigen::bfloat16
#include <nsvd/nsvd.hpp>

#if defined(NSVD_TWIN)
using scalar = float;
#else
using scalar = int;
#endif
nsvd::calibration<scalar> c(3);
