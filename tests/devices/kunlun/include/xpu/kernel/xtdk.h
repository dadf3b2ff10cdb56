// The part of XPU C that projects use, as plain C++: see xpu_model.h for the machine.
#pragma once

// The programming guide, 3.1.1.2: integers of the device are not those of stdint.h.
#ifndef XPU_MODEL_RUNTIME
#error "headers of the host come before those of the device"
#endif

#define __global__
#define __device__
#define __global_ptr__
#define __local__

inline int core_id() { return xpu_model::machine().core; }
inline int core_num() { return xpu_model::machine().cores; }
inline int cluster_id() { return xpu_model::machine().cluster; }
inline int cluster_num() { return xpu_model::machine().clusters; }

// Waits for the core's copies.
inline void mfence() { xpu_model::finish_copies(); }

// Copies: from, to, bytes. Those that are not asynchronous are done when they return, and
// begin after all before them.
inline void GM2LM_ASYNC(__global_ptr__ const void* from, void* to, int bytes) {
  const char* call = "GM2LM_ASYNC";
  xpu_model::check_size(call, bytes);
  const char* origin = xpu_model::global(call, from, bytes);
  xpu_model::check_local(call, to, bytes);
  xpu_model::note(call, from, bytes, false);
  xpu_model::machine().pending.push_back([=] { std::memcpy(to, origin, bytes); });
}

inline void LM2GM_ASYNC(const void* from, __global_ptr__ void* to, int bytes) {
  const char* call = "LM2GM_ASYNC";
  xpu_model::check_size(call, bytes);
  char* place = xpu_model::global(call, to, bytes);
  xpu_model::check_local(call, from, bytes);
  xpu_model::note(call, to, bytes, true);
  xpu_model::machine().pending.push_back([=] { std::memcpy(place, from, bytes); });
}

inline void GM2LM(__global_ptr__ const void* from, void* to, int bytes) {
  GM2LM_ASYNC(from, to, bytes);
  xpu_model::finish_copies();
}

inline void LM2GM(const void* from, __global_ptr__ void* to, int bytes) {
  LM2GM_ASYNC(from, to, bytes);
  xpu_model::finish_copies();
}
