// SPDX-License-Identifier: MIT
/// How whatever takes long tells how far it is, and how it is stopped: the options `progress` and `cancel`.
#pragma once

#include "detail/config.hpp"

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace nsvd::inline NSVD_ABI {

/// How far a call is, as the option `progress` is told.
struct progress {
    std::string_view what;  ///< what is being done, "stage 1: gram (cholesky)" say; valid during the call
    double done = 0.0;      ///< an estimate of the part of the time that is over: 0 at first, 1 at the end
};

/// Thrown by a call whose `cancel` asked for it. No `nsvd::error`: nothing was wrong. It leaves all
/// arguments, and the workspace, as an ordinary call does: the same call can be made again.
class cancelled : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

namespace detail {

template <class Signature>
class shared_function;

/// A function object that its copies share, or none. `std::function` would do, but for two things: one that
/// is empty can be a constant, so that option structs can be `constexpr`; and a copy costs no memory.
template <class R, class... Args>
class shared_function<R(Args...)> {
public:
    constexpr shared_function() noexcept = default;
    constexpr shared_function(std::nullptr_t) noexcept {}
    /// Of any callable, `std::function` included; of an empty one none.
    template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, shared_function> &&
             std::is_invocable_r_v<R, std::decay_t<F>&, Args...>) shared_function(F&& f) {
        if constexpr (std::is_pointer_v<std::decay_t<F>> || requires { f.target_type(); })
            if (f == nullptr) return;
        held_ = new holder_of<std::decay_t<F>>(std::forward<F>(f));
    }
    constexpr shared_function(const shared_function& other) noexcept : held_(other.held_) {
        if (held_ != nullptr) held_->users.fetch_add(1, std::memory_order_relaxed);
    }
    constexpr shared_function(shared_function&& other) noexcept
        : held_(std::exchange(other.held_, nullptr)) {}
    constexpr shared_function& operator=(shared_function other) noexcept {
        std::swap(held_, other.held_);
        return *this;
    }
    constexpr ~shared_function() {
        if (held_ != nullptr) release();
    }

    [[nodiscard]] constexpr explicit operator bool() const noexcept { return held_ != nullptr; }
    /// Not to be called where there is none.
    R operator()(Args... args) const { return held_->call(args...); }

private:
    struct holder {
        std::atomic<int> users{1};
        virtual R call(Args... args) = 0;
        virtual ~holder() = default;
    };
    template <class F>
    struct holder_of final : holder {
        F function;
        template <class From>
        explicit holder_of(From&& f) : function(std::forward<From>(f)) {}
        R call(Args... args) override { return static_cast<R>(function(args...)); }
    };
    void release() noexcept {
        if (held_->users.fetch_sub(1, std::memory_order_acq_rel) == 1) delete held_;
    }

    holder* held_ = nullptr;
};

}  // namespace detail

/// What the option `progress` takes: anything callable with a `const nsvd::progress&`.
///
/// It is called on the thread of the caller, with `done` ascending from 0 to exactly 1, which comes last and
/// once. An exception that it throws ends the call, and is handed on as it is.
/// (`calibration::update` has neither option: its caller chooses how much it takes at a time, and a part of
/// that could not be taken back.)
using progress_callback = detail::shared_function<void(const progress&)>;

/// What the option `cancel` takes: a `std::stop_token`, or anything else with `stop_requested()`; a
/// `const std::atomic<bool>&`, which must outlive the call; or a function that returns `bool`.
///
/// Once it says so, the call throws `nsvd::cancelled` as soon as it looks: before each step of an iteration
/// and between all others. What can't be interrupted is a single call of BLAS or LAPACK. The longest by far
/// is the symmetric eigenproblem of the smaller side s, 9s³ flops in double (`every_rank`, and what single
/// precision can't answer); next, a third of that or less, that of single precision where about half of all
/// directions are wanted; then products of `W` with a square matrix. A request that comes after the last look
/// changes nothing: the result is returned.
///
/// It is a type of our own because the standard library of LLVM had no `std::stop_token` before release 20;
/// nothing here needs threads.
class cancel_token {
public:
    constexpr cancel_token() noexcept = default;
    /// Of a `std::stop_token` or its like, of which a copy is kept.
    template <class Token>
    requires requires(const Token& token) {
        { token.stop_requested() } -> std::convertible_to<bool>;
    }
    cancel_token(Token token) : asked_([token = std::move(token)] { return bool(token.stop_requested()); }) {}
    /// Of a flag, which must outlive the call.
    cancel_token(const std::atomic<bool>& flag)
        : asked_([&flag] { return flag.load(std::memory_order_relaxed); }) {}
    cancel_token(const std::atomic<bool>&&) = delete;
    /// Of a function that says whether to stop, of which a copy is kept.
    template <class F>
    requires(std::is_invocable_r_v<bool, F&> && !std::same_as<F, cancel_token>) cancel_token(F asked)
        : asked_(std::move(asked)) {}

    /// Whether it can ever ask for anything.
    [[nodiscard]] constexpr explicit operator bool() const noexcept { return static_cast<bool>(asked_); }
    /// Whether it asks for an end now.
    [[nodiscard]] bool requested() const { return asked_ && asked_(); }

private:
    detail::shared_function<bool()> asked_;
};

namespace detail {

/// What a call tells its caller through `progress`, and hears from `cancel`. It costs next to nothing where
/// neither is set.
class observer {
public:
    /// `where` is how messages call the call.
    observer(const progress_callback& report, const cancel_token& cancel, std::string_view where = {})
        : report_(report), cancel_(cancel), active_(report || cancel), where_(where) {}
    observer(const observer&) = delete;
    observer& operator=(const observer&) = delete;

    void begin(const char* where) { where_ = where; }
    /// What follows is this, and takes what lies between these two parts of the whole.
    void enter(std::string_view what, double from, double to) {
        if (!active_) return;
        what_ = what;
        from_ = from;
        to_ = to;
        position_ = 0.0;
        at(0.0);
    }
    /// This part of what was entered is done, or more was before.
    void at(double part) {
        if (!active_) return;
        poll();
        position_ = std::max(position_, std::min(part, 1.0));
        tell(std::min(from_ + (to_ - from_) * position_, 0.999));
    }
    /// So much more of it is done; less as `limit` comes near, for steps can be more than was reckoned with.
    void step(double part, double limit) {
        at(position_ + std::min(part, 0.1 * std::max(limit - position_, 0.0)));
    }
    /// All is done.
    void finish() { tell(1.0); }
    void poll() const {
        if (cancel_.requested())
            throw cancelled(std::string(where_) + ": cancelled at " +
                            std::to_string(static_cast<int>(100.0 * std::max(last_, 0.0))) + " %");
    }
    /// For a call that does what lies between these two parts of the whole.
    [[nodiscard]] progress_callback part(double from, double to) {
        if (!report_) return {};
        return [this, from, to](const progress& p) {
            what_ = p.what;
            tell(std::min(from + (to - from) * p.done, 0.999));
        };
    }

private:
    void tell(double done) {
        if (!report_ || !(done > last_)) return;
        last_ = done;
        report_(progress{what_, done});
    }

    const progress_callback report_;
    const cancel_token cancel_;
    const bool active_;
    std::string_view where_;
    std::string what_;
    double from_ = 0.0;
    double to_ = 1.0;
    double position_ = 0.0;
    double last_ = -1.0;
};

/// `watch->at(part)`, if there is one who wants to know.
inline void tell(observer* watch, double part) {
    if (watch != nullptr) watch->at(part);
}

}  // namespace detail
}  // namespace nsvd::inline NSVD_ABI
