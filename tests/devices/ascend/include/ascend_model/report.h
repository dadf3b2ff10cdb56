// How the model reports a broken rule: what, in which call, of which kernel and core.
#pragma once

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace ascend_model {

struct Place {
    std::string kernel = "(host)";
    int64_t core = 0;
    const char* call = "";
};

inline Place& place() {
    static Place current;
    return current;
}

// Names the call that the current thread is in, for messages.
struct InCall {
    const char* before;
    explicit InCall(const char* call) : before(place().call) {
        if (!*before) place().call = call;
    }
    ~InCall() { place().call = before; }
};

[[noreturn]] inline void fail(const char* rule, const char* format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    const Place& at = place();
    std::fprintf(stderr, "Ascend C model: rule '%s' broken in kernel %s, core %lld, %s: %s\n",
                 rule, at.kernel.c_str(), static_cast<long long>(at.core),
                 *at.call ? at.call : "kernel", text);
    std::fflush(stderr);
    std::_Exit(86);
}

}  // namespace ascend_model
