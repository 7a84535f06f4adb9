// expect: nsvd: not a scalar that factors can have: use float or double
#include <nsvd/nsvd.hpp>

#if defined(NSVD_TWIN)
using scalar = float;
#else
using scalar = Eigen::half;
#endif
nsvd::low_rank<scalar> d;
