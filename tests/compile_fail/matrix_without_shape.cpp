// expect: nsvd: not a matrix that can be read: pass a dense Eigen expression of
// float.*nsvd::row_major\(numbers, rows, cols\)
#include <nsvd/nsvd.hpp>

#include <vector>

#if defined(NSVD_TWIN)
const std::vector<double> numbers(12);
const auto w = nsvd::row_major(numbers, 4, 3);
#else
const std::vector<double> w(12);
#endif
using result = decltype(nsvd::svd(w, nsvd::rank{2}));
