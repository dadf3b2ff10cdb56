/* A compiled model as a C library.
 *
 * A model serves one call at a time, on the thread that made it. Tensors are row-major without
 * gaps; a bool takes a byte. Two such libraries do not fit into one program.
 */
#ifndef INFINI_H
#define INFINI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define INFINI_MAX_RANK 16

typedef struct infini_model infini_model;

typedef struct infini_tensor {
  void* data;
  int64_t rank;
  int64_t shape[INFINI_MAX_RANK];
} infini_tensor;

typedef struct infini_tensor_info {
  const char* name;
  const char* dtype; /* f32, f16, bf16, f64, i8, ui8 (unsigned), .. , i1 (bool) */
  int64_t item_size; /* bytes of an element */
  int64_t rank;
  const int64_t* sizes;          /* -1: differs from call to call */
  const char* const* size_texts; /* every size as text: "1024", "M", "2*M + 1" */
} infini_tensor_info;

/* What a call returns; infini_model_error has the reason. */
enum {
  INFINI_OK = 0,
  INFINI_WRONG_INPUT = 1,  /* an input does not fit the model */
  INFINI_MODEL_ERROR = 2,  /* the model computed what cannot be */
  INFINI_DEVICE_ERROR = 3, /* the device failed, or has too little memory */
};

int infini_input_count(void);
int infini_output_count(void);
const infini_tensor_info* infini_input_info(int index);
const infini_tensor_info* infini_output_info(int index);

/* Loads the weights onto a device. NULL on failure, with the reason in `error`. */
infini_model* infini_model_create(const char* weights_path, int device, char* error,
                                  size_t error_size);
void infini_model_destroy(infini_model* model);

/* Runs the model on `infini_input_count()` inputs in host memory, and fills in
 * `infini_output_count()` outputs: their memory is the model's, until the next call. */
int infini_model_run(infini_model* model, const infini_tensor* inputs, infini_tensor* outputs);

/* The same with inputs and outputs in device memory. Returns when the device is done. */
int infini_model_run_device(infini_model* model, const infini_tensor* inputs,
                            infini_tensor* outputs);

/* Why the last call failed; an empty text when it did not. */
const char* infini_model_error(const infini_model* model);

#ifdef __cplusplus
}
#endif

#endif
