// Restores a picture of any size with OpenVINO's C library:
//
//	restore saved_models/NAME/1 noisy.jpg restored.png
//
// The picture is grey or in colour, as the network is; a transparent one is laid on white.
package main

/*
#include <stdlib.h>
#include <openvino/c/openvino.h>

// cgo calls no function of variable arguments. Without the hint it computes in bfloat16 where it can.
static ov_status_e compile(const ov_core_t* core, const char* path, ov_compiled_model_t** model) {
  return ov_core_compile_model_from_file(core, path, "CPU", 2, model, "INFERENCE_PRECISION_HINT", "f32");
}
*/
import "C"

import (
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg"
	"image/png"
	"os"
	"strings"
	"unsafe"
)

func check(status C.ov_status_e) {
	if status != C.OK {
		lines := strings.Split(strings.TrimSpace(C.GoString(C.ov_get_last_err_msg())), "\n")
		panic(lines[len(lines)-1])
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// readPixels returns height, width and the levels in [0, 1], row by row, channels last.
func readPixels(path string, channels int) (int, int, []float32) {
	file, err := os.Open(path)
	must(err)
	defer file.Close()
	picture, _, err := image.Decode(file)
	must(err)
	box := picture.Bounds()
	pixels := make([]float32, 0, box.Dx()*box.Dy()*channels)
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			r, g, b, alpha := picture.At(x, y).RGBA() // Of 16 bits, already times alpha.
			white := 65535 - float32(alpha)
			red, green, blue := float32(r)+white, float32(g)+white, float32(b)+white
			if channels == 1 {
				pixels = append(pixels, (0.299*red+0.587*green+0.114*blue)/65535)
			} else {
				pixels = append(pixels, red/65535, green/65535, blue/65535)
			}
		}
	}
	return box.Dy(), box.Dx(), pixels
}

func writePixels(path string, height, width, channels int, pixels []float32) {
	picture := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := 0; i < height*width; i++ {
		var levels [3]uint8
		for channel := range levels {
			level := pixels[i*channels+channel%channels]
			if level > 0 {
				levels[channel] = uint8(min(level, 1)*255 + 0.5)
			}
		}
		picture.SetNRGBA(i%width, i/width, color.NRGBA{levels[0], levels[1], levels[2], 255})
	}
	file, err := os.Create(path)
	must(err)
	must(png.Encode(file, picture))
	must(file.Close())
}

func min(a, b float32) float32 {
	if a < b {
		return a
	}
	return b
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: restore NAME/1 PICTURE RESTORED.png")
		os.Exit(2)
	}
	defer func() {
		if problem := recover(); problem != nil {
			fmt.Fprintln(os.Stderr, "restore:", problem)
			os.Exit(1)
		}
	}()
	var core *C.ov_core_t
	var model *C.ov_compiled_model_t
	var port *C.ov_output_const_port_t
	var given C.ov_partial_shape_t
	check(C.ov_core_create(&core))
	check(C.compile(core, C.CString(os.Args[1]), &model))
	check(C.ov_compiled_model_input(model, &port))
	check(C.ov_port_get_partial_shape(port, &given)) // (N, H, W, C), where all but C are free.
	channels := unsafe.Slice(given.dims, 4)[3].max
	height, width, pixels := readPixels(os.Args[2], int(channels))

	var request *C.ov_infer_request_t
	var tensor *C.ov_tensor_t
	var shape C.ov_shape_t
	var data unsafe.Pointer
	check(C.ov_compiled_model_create_infer_request(model, &request))
	check(C.ov_infer_request_get_input_tensor(request, &tensor))
	sides := []C.int64_t{1, C.int64_t(height), C.int64_t(width), channels}
	check(C.ov_shape_create(4, &sides[0], &shape))
	check(C.ov_tensor_set_shape(tensor, shape))
	check(C.ov_tensor_data(tensor, &data))
	copy(unsafe.Slice((*float32)(data), len(pixels)), pixels)
	check(C.ov_infer_request_infer(request))
	check(C.ov_infer_request_get_output_tensor(request, &tensor))
	check(C.ov_tensor_get_shape(tensor, &shape))
	check(C.ov_tensor_data(tensor, &data))
	sides = unsafe.Slice(shape.dims, 4)
	height, width, channels = int(sides[1]), int(sides[2]), sides[3]
	restored := unsafe.Slice((*float32)(data), height*width*int(channels))
	writePixels(os.Args[3], height, width, int(channels), restored)
}
