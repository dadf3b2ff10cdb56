// What the host program wants of a device. device.cpp does it with the vendor's runtime.
#pragma once

#include <cstddef>
#include <cstdint>

namespace infini {

// The vendor's stream or queue: always a pointer.
using Stream = void*;

// All of these throw std::runtime_error, whose text names the call that failed and why.

// Makes a device the current one of this thread, and lets it go.
void device_open(int number);
void device_close(int number);

// How many cores launches spread over; 1 where the device decides.
int64_t device_cores();

Stream stream_create();
void stream_destroy(Stream stream);

// Device memory; nullptr is free to be freed.
void* device_malloc(size_t bytes);
void device_free(void* pointer);

// Copies in the stream's order. The host's memory must stay until `synchronize`.
void copy_to_device(void* destination, const void* source, size_t bytes, Stream stream);
void copy_from_device(void* destination, const void* source, size_t bytes, Stream stream);

// Waits until everything in the stream is done.
void synchronize(Stream stream);

// Throws where the device reports that `kernel` could not be started.
void check_launch(const char* kernel);

}  // namespace infini
