/* Restores a picture with the exported SavedModel, through TensorFlow's C API.
 *
 *   ./restore SAVED_MODEL_DIR IN.png OUT.png
 *   ./restore SAVED_MODEL_DIR --floats H W C IN.f32 OUT.f32
 *
 * The first form sends the bytes of a PNG or JPEG file through the signature `serve_bytes`, which
 * decodes, restores and encodes. The second sends H * W * C floats in [0, 1], raw and row by row,
 * through `serving_default` and writes raw floats. `--input NAME --output NAME` name the graph's
 * tensors where the model's own signatures shall not be asked.
 *
 * Exit code 0, 1 with one line on stderr when it did not work, 2 when it was called wrongly.
 * TensorFlow itself writes to stderr, before main() already: TF_CPP_MIN_LOG_LEVEL=3 in the
 * environment stops that.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

enum { FAILED = 1, USAGE = 2, RANK = 4 };

static const char usage[] =
    "usage: restore SAVED_MODEL_DIR [--input NAME] [--output NAME] IN.png OUT.png\n"
    "       restore SAVED_MODEL_DIR [--input NAME] [--output NAME] --floats H W C IN.f32 OUT.f32\n";

/* What was asked for; the tensors' names are NULL where the model shall tell them. */
typedef struct {
  const char *model, *in, *out, *input, *output;
  bool floats;
  int64_t shape[RANK]; /* N, H, W, C */
} Request;

/* Bytes of a file or of a message; `at` moves forward while a message is read. */
typedef struct {
  const uint8_t *at, *end;
} Bytes;

/* What has to be freed, so that one place does. */
typedef struct {
  TF_Status *status;
  TF_Graph *graph;
  TF_SessionOptions *options;
  TF_Buffer *description;
  TF_Session *session;
  TF_Tensor *given, *restored;
  uint8_t *file;
} Work;

static bool fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("restore: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  return false;
}

/* Tells what TensorFlow said, in one line: the cause stands before the name of the graph's node. */
static bool fail_as(const char *what, const TF_Status *status) {
  const char *message = TF_Message(status), *end = strstr(message, "\n\t [[");
  if (end == NULL) end = message + strlen(message);
  const char *line = end;
  while (line > message && line[-1] != '\n') line--;
  return fail("%s: %.*s", what, (int)(end - line), line);
}

/* ---- Files ---- */

static bool read_file(const char *path, uint8_t **content, size_t *size) {
  FILE *stream = fopen(path, "rb");
  if (stream == NULL) return fail("%s: %s", path, strerror(errno));
  size_t room = 1 << 16, used = 0;
  uint8_t *data = malloc(room);
  /* In pieces, and not by asking for the size, so that a pipe can be read too. */
  while (data != NULL) {
    used += fread(data + used, 1, room - used, stream);
    if (used < room) break;
    uint8_t *larger = room > SIZE_MAX / 2 ? NULL : realloc(data, room *= 2);
    if (larger == NULL) free(data);
    data = larger;
  }
  bool good = data != NULL && !ferror(stream);
  int error = errno;
  fclose(stream);
  if (!good) {
    free(data);
    return fail("%s: %s", path, data == NULL ? "too large for the memory" : strerror(error));
  }
  *content = data;
  *size = used;
  return true;
}

static bool write_file(const char *path, const void *content, size_t size) {
  FILE *stream = fopen(path, "wb");
  if (stream == NULL) return fail("%s: %s", path, strerror(errno));
  bool good = fwrite(content, 1, size, stream) == size;
  /* A full disk may only show when the last bytes leave the buffer. */
  good = fclose(stream) == 0 && good;
  return good || fail("%s: %s", path, strerror(errno));
}

/* ---- Names of tensors, from the model's description of itself ----
 *
 * The graph calls its tensors what Keras called them, such as "StatefulPartitionedCall_1:0". Which
 * is which stands in the MetaGraphDef, a protocol buffer. Its wire format is fields of a number, a
 * type and a value one after the other, so three functions do in place of a library. */

static bool read_number(Bytes *message, uint64_t *number) {
  *number = 0;
  for (int shift = 0; shift < 64 && message->at < message->end; shift += 7) {
    uint8_t byte = *message->at++;
    *number |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

/* Moves to the next field that holds bytes: a text or a message. False at the end. */
static bool next_field(Bytes *message, uint64_t *field, Bytes *value) {
  uint64_t tag, size;
  while (read_number(message, &tag)) {
    *field = tag >> 3;
    switch (tag & 7) {
      case 0: /* A number of any length. */
        if (!read_number(message, &size)) return false;
        continue;
      case 1:
        size = 8;
        break;
      case 2:
        if (!read_number(message, &size)) return false;
        break;
      case 5:
        size = 4;
        break;
      default:
        return false;
    }
    if (size > (uint64_t)(message->end - message->at)) return false;
    *value = (Bytes){message->at, message->at + size};
    message->at += size;
    if ((tag & 7) == 2) return true;
  }
  return false;
}

/* Finds `key` in the map that is field `map` of a message; entries are {1: key, 2: value}. */
static bool find_entry(Bytes message, uint64_t map, const char *key, Bytes *value) {
  uint64_t field, part;
  Bytes entry, content;
  while (next_field(&message, &field, &entry)) {
    if (field != map) continue;
    bool found = false;
    *value = (Bytes){NULL, NULL};
    while (next_field(&entry, &part, &content)) {
      size_t size = (size_t)(content.end - content.at);
      if (part == 1) found = size == strlen(key) && memcmp(content.at, key, size) == 0;
      if (part == 2) *value = content;
    }
    if (found && value->at != NULL) return true;
  }
  return false;
}

/* Writes the name of a signature's tensor to `name`, from a MetaGraphDef. */
static bool read_tensor_name(const TF_Buffer *description, const char *signature, bool is_input,
                             const char *key, char *name, size_t room) {
  /* MetaGraphDef.signature_def, SignatureDef.inputs and .outputs, TensorInfo.name. */
  enum { SIGNATURES = 5, INPUTS = 1, OUTPUTS = 2, NAME = 1 };
  Bytes message = {description->data, (const uint8_t *)description->data + description->length};
  Bytes entry, tensor, text;
  uint64_t field;
  if (find_entry(message, SIGNATURES, signature, &entry) &&
      find_entry(entry, is_input ? INPUTS : OUTPUTS, key, &tensor)) {
    while (next_field(&tensor, &field, &text)) {
      size_t size = (size_t)(text.end - text.at);
      if (field != NAME || size >= room) continue;
      memcpy(name, text.at, size);
      name[size] = '\0';
      return true;
    }
  }
  return fail("the model has no signature '%s' with '%s': was it exported by tf_deconv?",
              signature, key);
}

/* Finds a tensor by its name "OPERATION:NUMBER". */
static bool find_tensor(TF_Graph *graph, const char *name, TF_Output *tensor) {
  char operation[256];
  const char *colon = strrchr(name, ':');
  size_t size = colon == NULL ? strlen(name) : (size_t)(colon - name);
  if (size < sizeof operation) {
    memcpy(operation, name, size);
    operation[size] = '\0';
    tensor->oper = TF_GraphOperationByName(graph, operation);
    tensor->index = colon == NULL ? 0 : atoi(colon + 1);
    if (tensor->oper != NULL && tensor->index >= 0 &&
        tensor->index < TF_OperationNumOutputs(tensor->oper)) {
      return true;
    }
  }
  return fail("the graph has no tensor '%s'", name);
}

/* ---- Tensors ---- */

/* Returns a string tensor (1,) of the file's bytes; NULL without memory for it. */
static TF_Tensor *make_text(const uint8_t *content, size_t size) {
  const int64_t shape[] = {1};
  TF_Tensor *tensor = TF_AllocateTensor(TF_STRING, shape, 1, sizeof(TF_TString));
  if (tensor == NULL) return NULL;
  TF_TString *text = TF_TensorData(tensor);
  TF_StringInit(text);
  TF_StringCopy(text, (const char *)content, size);
  return tensor;
}

/* Frees a tensor that make_text or TF_AllocateTensor made: it does not know what its texts own. */
static void free_given(TF_Tensor *tensor) {
  if (tensor == NULL) return;
  if (TF_TensorType(tensor) == TF_STRING) TF_StringDealloc(TF_TensorData(tensor));
  TF_DeleteTensor(tensor);
}

static bool make_given(const Request *request, Work *work) {
  size_t size = 0;
  if (!read_file(request->in, &work->file, &size)) return false;
  if (!request->floats) {
    work->given = make_text(work->file, size);
  } else {
    const int64_t *shape = request->shape;
    size_t expected = sizeof(float) * (size_t)(shape[1] * shape[2] * shape[3]);
    if (size != expected) {
      return fail("%s: %zu bytes, expected %zu, 4 for each of %lld x %lld x %lld floats",
                  request->in, size, expected, (long long)shape[1], (long long)shape[2],
                  (long long)shape[3]);
    }
    work->given = TF_AllocateTensor(TF_FLOAT, shape, RANK, size);
    if (work->given != NULL) memcpy(TF_TensorData(work->given), work->file, size);
  }
  return work->given != NULL || fail("%s: too large for the memory", request->in);
}

static bool write_restored(const Request *request, const TF_Tensor *restored) {
  if (!request->floats) {
    if (TF_TensorType(restored) != TF_STRING || TF_TensorElementCount(restored) != 1) {
      return fail("the model gives no encoded picture: expected one string");
    }
    const TF_TString *text = TF_TensorData(restored);
    return write_file(request->out, TF_StringGetDataPointer(text), TF_StringGetSize(text));
  }
  if (TF_TensorType(restored) != TF_FLOAT || TF_NumDims(restored) != RANK) {
    return fail("the model gives no picture: expected float32 (N, H, W, C)");
  }
  if (!write_file(request->out, TF_TensorData(restored), TF_TensorByteSize(restored))) return false;
  printf("%lld x %lld x %lld floats\n", (long long)TF_Dim(restored, 1),
         (long long)TF_Dim(restored, 2), (long long)TF_Dim(restored, 3));
  return true;
}

/* ---- The whole of it ---- */

static bool load(const Request *request, Work *work) {
  const char *const tags[] = {"serve"};
  work->session = TF_LoadSessionFromSavedModel(work->options, NULL, request->model, tags, 1,
                                               work->graph, work->description, work->status);
  return TF_GetCode(work->status) == TF_OK || fail_as(request->model, work->status);
}

static bool find_ends(const Request *request, const Work *work, TF_Output *input,
                      TF_Output *output) {
  const char *signature = request->floats ? "serving_default" : "serve_bytes";
  const char *keys[] = {request->floats ? "image" : "image_bytes",
                        request->floats ? "restored" : "restored_bytes"};
  const char *names[] = {request->input, request->output};
  TF_Output *ends[] = {input, output};
  for (int side = 0; side < 2; side++) {
    char name[256];
    if (names[side] == NULL) {
      if (!read_tensor_name(work->description, signature, side == 0, keys[side], name,
                            sizeof name)) {
        return false;
      }
      names[side] = name;
    }
    if (!find_tensor(work->graph, names[side], ends[side])) return false;
  }
  return true;
}

static bool restore(const Request *request, Work *work) {
  TF_Output input, output;
  /* First what costs nothing: loading the model takes seconds. */
  if (!make_given(request, work)) return false;
  if (!load(request, work)) return false;
  if (!find_ends(request, work, &input, &output)) return false;
  TF_SessionRun(work->session, NULL, &input, &work->given, 1, &output, &work->restored, 1, NULL, 0,
                NULL, work->status);
  if (TF_GetCode(work->status) != TF_OK) return fail_as(request->in, work->status);
  return write_restored(request, work->restored);
}

static void clean_up(Work *work) {
  if (work->session != NULL) {
    TF_CloseSession(work->session, work->status);
    TF_DeleteSession(work->session, work->status);
  }
  if (work->restored != NULL) TF_DeleteTensor(work->restored);
  free_given(work->given);
  free(work->file);
  TF_DeleteBuffer(work->description);
  TF_DeleteSessionOptions(work->options);
  TF_DeleteGraph(work->graph);
  TF_DeleteStatus(work->status);
}

static bool read_side(const char *text, int64_t *side) {
  char *end;
  errno = 0;
  long value = strtol(text, &end, 10);
  *side = value;
  /* The product of three such numbers and 4 bytes each stays below 2^63. */
  return errno == 0 && end != text && *end == '\0' && value >= 1 && value <= 1 << 20;
}

static bool read_arguments(int count, char **texts, Request *request) {
  const char *places[2];
  int placed = 0;
  if (count < 2) return false;
  request->model = texts[1];
  for (int number = 2; number < count; number++) {
    const char *text = texts[number];
    int left = count - 1 - number;
    if (strcmp(text, "--input") == 0 && left >= 1) {
      request->input = texts[++number];
    } else if (strcmp(text, "--output") == 0 && left >= 1) {
      request->output = texts[++number];
    } else if (strcmp(text, "--floats") == 0 && left >= 3) {
      request->floats = true;
      for (int axis = 1; axis < RANK; axis++) {
        if (!read_side(texts[++number], &request->shape[axis])) return false;
      }
    } else if (strncmp(text, "--", 2) != 0 && placed < 2) {
      places[placed++] = text;
    } else {
      return false;
    }
  }
  if (placed < 2) return false;
  request->in = places[0];
  request->out = places[1];
  return true;
}

int main(int count, char **texts) {
  Request request = {.shape = {1, 0, 0, 0}};
  if (!read_arguments(count, texts, &request)) {
    fputs(usage, stderr);
    return USAGE;
  }
  Work work = {.status = TF_NewStatus(),
               .graph = TF_NewGraph(),
               .options = TF_NewSessionOptions(),
               .description = TF_NewBuffer()};
  bool good = restore(&request, &work);
  clean_up(&work);
  return good ? 0 : FAILED;
}
