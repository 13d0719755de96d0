// Restores videos: a frei0r plugin, which ffmpeg, GStreamer, MLT and their editors load. Each frame goes
// through OpenVINO, in any size. The network takes and gives RGB of one size. README.md tells how to run it.

#include <frei0r.h>
#include <openvino/c/openvino.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  unsigned width, height;
  char *path;
  ov_core_t *core;
  ov_compiled_model_t *model;
  ov_infer_request_t *request;
  int failed;
} Filter;

int f0r_init(void) { return 1; }
void f0r_deinit(void) {}

void f0r_get_plugin_info(f0r_plugin_info_t *info) {
  *info = (f0r_plugin_info_t){.name = "tf_deconv", .author = "tf_deconv", .explanation = "restores",
                              .plugin_type = F0R_PLUGIN_TYPE_FILTER, .frei0r_version = FREI0R_MAJOR_VERSION,
                              .color_model = F0R_COLOR_MODEL_RGBA8888, .num_params = 1};
}

void f0r_get_param_info(f0r_param_info_t *info, int index) {
  (void)index;
  *info = (f0r_param_info_t){"model", F0R_PARAM_STRING, "folder of a SavedModel: saved_models/NAME/1"};
}

f0r_instance_t f0r_construct(unsigned width, unsigned height) {
  Filter *filter = calloc(1, sizeof *filter);
  // frei0r asks for 8. Where it has AVX-512, ffmpeg 5.1 makes other rows longer than it tells.
  if (width % 16) {
    fprintf(stderr, "tf_deconv: frames are %u wide, expected a multiple of 16: pad and crop them\n", width);
    filter->failed = 1;  // Not NULL, of which GStreamer dies.
  }
  filter->width = width, filter->height = height, filter->path = strdup("");
  return filter;
}

static void close_model(Filter *filter) {
  if (filter->request) ov_infer_request_free(filter->request);
  if (filter->model) ov_compiled_model_free(filter->model);
  if (filter->core) ov_core_free(filter->core);
  filter->request = NULL, filter->model = NULL, filter->core = NULL;
  filter->failed = filter->width % 16 != 0;
}

void f0r_destruct(f0r_instance_t instance) {
  Filter *filter = instance;
  close_model(filter);
  free(filter->path);
  free(filter);
}

void f0r_set_param_value(f0r_instance_t instance, f0r_param_t value, int index) {
  Filter *filter = instance;
  (void)index;
  if (!strcmp(filter->path, *(char **)value)) return;
  close_model(filter);
  free(filter->path);
  filter->path = strdup(*(char **)value);
}

void f0r_get_param_value(f0r_instance_t instance, f0r_param_t value, int index) {
  (void)index;
  *(char **)value = ((Filter *)instance)->path;
}

// Returns the restored frame, (height, width, 3) floats that `request` owns, or NULL after an error.
static const float *run(Filter *filter, const unsigned char *rgba, ov_tensor_t **output) {
  ov_tensor_t *input = NULL;
  ov_shape_t shape = {0}, wanted = {4, (int64_t[]){1, filter->height, filter->width, 3}};
  float *pixels;
  const float *restored = NULL;
  // Without the hint it computes in bfloat16 on processors that can.
  if (!filter->request &&
      (ov_core_create(&filter->core) ||
       ov_core_compile_model_from_file(filter->core, filter->path, "CPU", 2, &filter->model,
                                       "INFERENCE_PRECISION_HINT", "f32") ||
       ov_compiled_model_create_infer_request(filter->model, &filter->request)))
    return NULL;
  if (!ov_infer_request_get_input_tensor(filter->request, &input) && !ov_tensor_set_shape(input, wanted) &&
      !ov_tensor_data(input, (void **)&pixels)) {
    for (size_t i = 0; i < (size_t)filter->height * filter->width * 3; i++)
      pixels[i] = rgba[i / 3 * 4 + i % 3] / 255.0f;
    if (!ov_infer_request_infer(filter->request) &&
        !ov_infer_request_get_output_tensor(filter->request, output) && !ov_tensor_get_shape(*output, &shape) &&
        !memcmp(shape.dims, wanted.dims, 4 * sizeof *shape.dims))
      ov_tensor_data(*output, (void **)&restored);
  }
  if (shape.dims) ov_shape_free(&shape);
  if (input) ov_tensor_free(input);
  return restored;
}

void f0r_update(f0r_instance_t instance, double time, const uint32_t *in, uint32_t *out) {
  Filter *filter = instance;
  const unsigned char *rgba = (const unsigned char *)in;
  unsigned char *frame = (unsigned char *)out;
  ov_tensor_t *output = NULL;
  const float *restored = filter->failed ? NULL : run(filter, rgba, &output);
  const size_t count = (size_t)filter->height * filter->width;
  (void)time;
  if (!restored && !filter->failed) {  // frei0r has no way to refuse a frame: it is black.
    const char *why = ov_get_last_err_msg();
    fprintf(stderr, "tf_deconv: '%s' gives no RGB frame of the same size. %s\n", filter->path, why ? why : "");
    filter->failed = 1;
  }
  for (size_t i = 0; i < 4 * count; i++)
    frame[i] = i % 4 == 3 ? rgba[i]
               : !restored ? 0
                           : lrintf(255 * fminf(fmaxf(restored[i / 4 * 3 + i % 4], 0), 1));
  if (output) ov_tensor_free(output);
}
