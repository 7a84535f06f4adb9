// SPDX-License-Identifier: MIT
/// nsvd: activation-aware low-rank decomposition of weight matrices. Everything but ext/.
#pragma once

#include "accuracy.hpp"
#include "asvd.hpp"
#include "calibration.hpp"
#include "decompose.hpp"
#include "error.hpp"
#include "interpolative.hpp"
#include "low_rank.hpp"
#include "matrix.hpp"
#include "metric.hpp"
#include "metrics.hpp"
#include "nested.hpp"
#include "rank/compression.hpp"
#include "rank/energy.hpp"
#include "rank/fixed_rank.hpp"
#include "rank/policy.hpp"
#include "rank/tolerance.hpp"
#include "svd.hpp"
#include "version.hpp"
#include "whitening.hpp"
#include "workspace.hpp"
