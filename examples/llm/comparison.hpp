#pragma once

#include "layer_result.hpp"

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace llm {

/// A relative change of perplexity against the reference method: `value = 1 − exp(d)` with `d` the
/// mean difference of nll, so 0.1 means a perplexity 10 % lower. NaN stands for "not known".
struct improvement {
    double value = std::numeric_limits<double>::quiet_NaN();
    double standard_error = std::numeric_limits<double>::quiet_NaN();
};

/// What a result read from a JSON file keeps of its windows, which the file doesn't hold.
struct text_record {
    std::int64_t windows = 0;
    improvement gain{};
};

/// Result on one text. `nll` is the mean negative log-likelihood per prediction in nats,
/// `perplexity = exp(nll)`, `window_nll` the mean of each window (all windows are equally long).
struct text_result {
    double nll = 0;
    double perplexity = 0;
    std::vector<double> window_nll{};
    std::optional<text_record> record{};  ///< set by `from_json` only
};

/// One method at one compression. `compression` is the share of the parameters that was removed,
/// in [0, 1); `parameters` and `bytes` are those of the compressed linear layers; the errors are
/// means over these layers; `texts` is in the order of `comparison::text_names`.
struct comparison_row {
    std::string method;  ///< the recipe as on the command line: "nsvd-1+pivoted"
    std::string label;   ///< "NSVD-I + pivoted"
    double compression = 0;
    std::int64_t parameters = 0;
    std::int64_t bytes = 0;
    double weighted_error = 0;
    double plain_error = 0;
    double seconds = 0;
    std::vector<text_result> texts{};
    std::vector<layer_result> layers{};  ///< may be left out
};

/// How alike texts are for the model: for each pair the mean over all inputs of layers of the cosine of the
/// angle between their Gram matrices (nsvd::similarity).
struct text_similarity {
    std::vector<std::string> names{};           ///< the calibration text first
    std::vector<std::vector<double>> values{};  ///< symmetric, 1 on the diagonal
    std::int64_t windows = 0;                   ///< at most, of each text
};

/// Everything a report shows. Text names are unique.
struct comparison {
    std::string model;
    std::string calibration;
    std::vector<std::string> text_names{};
    std::optional<std::string> in_domain{};  ///< the text of the calibration's kind
    std::vector<bool> counted{};  ///< per text: false where the dense model itself does no better than
                                  ///< guessing, which keeps it out of averages; empty: all true
    std::int64_t context = 0;
    std::int64_t calibration_windows = 0;
    std::int64_t calibration_tokens = 0;
    std::uint64_t seed = 0;
    double share = 0;
    std::string reference = "asvd-1";  ///< the method that the others are measured against
    std::string baseline = "dense";  ///< the first row: the model as it was given, "as stored" if compressed
    std::int64_t dense_parameters = 0;
    std::int64_t dense_bytes = 0;
    std::vector<text_result> dense{};
    std::vector<comparison_row> rows{};
    std::optional<text_similarity> similarity{};
    std::string machine{};
    std::string date{};
    std::string version{};
    std::string command{};
};

}  // namespace llm
