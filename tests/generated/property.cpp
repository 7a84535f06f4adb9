// SPDX-License-Identifier: MIT
#include "property.hpp"

#include <cstdlib>
#include <iostream>
#include <sstream>

namespace generated {

namespace {

/// Says nothing on the way.
struct silence : rc::detail::TestListener {
    void onTestCaseFinished(const rc::detail::CaseDescription&) override {}
    void onShrinkTried(const rc::detail::CaseDescription&, bool) override {}
    void onTestFinished(const rc::detail::TestMetadata&, const rc::detail::TestResult&) override {}
};

rc::detail::Configuration configuration(int cases) {
    rc::detail::Configuration defaults;
    defaults.testParams.seed = 1;
    defaults.testParams.maxSuccess = cases;
    const char* const given = std::getenv("RC_PARAMS");
    return given == nullptr ? defaults : rc::detail::configFromString(given, defaults);
}

}  // namespace

rc::detail::TestResult run(const rc::detail::Property& property, const std::string& name, int cases) {
    const auto how = configuration(cases);
    silence listener;
    return rc::detail::checkProperty(property, {name, name}, how.testParams, listener, how.reproduce);
}

std::string report(const rc::detail::TestResult& result, const std::string& name, int cases) {
    const auto how = configuration(cases);
    std::ostringstream text;
    text << name << ": seed " << how.testParams.seed << ": ";
    rc::detail::printResultMessage(result, text);
    if (result.is<rc::detail::FailureResult>())
        text << "\nAgain: RC_PARAMS=\"seed=" << how.testParams.seed
             << " max_success=" << how.testParams.maxSuccess << '"';
    return text.str();
}

void check(const std::string& name, int cases, const rc::detail::Property& property) {
    const auto result = run(property, name, cases);
    const std::string text = report(result, name, cases);
    if (!result.is<rc::detail::SuccessResult>()) FAIL(text);
    std::cout << text << std::endl;
    SUCCEED(text);
}

void within(const char* what, double value, double limit) {
    if (value <= limit) return;
    std::ostringstream text;
    text << what << ": " << value << " exceeds " << limit << ", " << value / limit << " times";
    RC_FAIL(text.str());
}

}  // namespace generated
