// SPDX-License-Identifier: MIT
/// nsvd: activation-aware low-rank decomposition of weight matrices. Everything but ext/.
#pragma once

#include "accuracy.hpp"
#include "allocation.hpp"
#include "anchored.hpp"
#include "asvd.hpp"
#include "bias.hpp"
#include "calibration.hpp"
#include "decompose.hpp"
#include "error.hpp"
#include "every_rank.hpp"
#include "interpolative.hpp"
#include "joint.hpp"
#include "low_rank.hpp"
#include "matrix.hpp"
#include "metric.hpp"
#include "metrics.hpp"
#include "nested.hpp"
#include "pivoted_low_rank.hpp"
#include "progress.hpp"
#include "rank/compression.hpp"
#include "rank/energy.hpp"
#include "rank/fixed_rank.hpp"
#include "rank/policy.hpp"
#include "rank/tolerance.hpp"
#include "similarity.hpp"
#include "spiking.hpp"
#include "storage.hpp"
#include "svd.hpp"
#include "tune.hpp"
#include "version.hpp"
#include "whitening.hpp"
#include "workspace.hpp"

#if defined(NSVD_EXTERN_TEMPLATES)
#include "extern_templates.hpp"
#endif
