// Restores a picture of any size with OpenVINO's C library:
//
//     restore saved_models/NAME/1 noisy.ppm restored.ppm
//
// Pictures are binary PPM (P6, colour) or PGM (P5, grey) of 8 bits, as the network is.

use std::ffi::{CStr, CString};
use std::os::raw::{c_char, c_int, c_void};
use std::ptr::null_mut;
use std::{env, fs, process, slice};

#[repr(C)]
struct Shape {
    rank: i64,
    sides: *mut i64,
}

// What openvino/c/openvino.h declares.
extern "C" {
    fn ov_get_last_err_msg() -> *const c_char;
    fn ov_core_create(core: *mut *mut c_void) -> c_int;
    fn ov_core_compile_model_from_file(
        core: *mut c_void,
        path: *const c_char,
        device: *const c_char,
        option_count: usize,
        model: *mut *mut c_void,
        ...
    ) -> c_int;
    fn ov_compiled_model_create_infer_request(model: *mut c_void, request: *mut *mut c_void) -> c_int;
    fn ov_infer_request_get_input_tensor(request: *mut c_void, tensor: *mut *mut c_void) -> c_int;
    fn ov_infer_request_get_output_tensor(request: *mut c_void, tensor: *mut *mut c_void) -> c_int;
    fn ov_infer_request_infer(request: *mut c_void) -> c_int;
    fn ov_tensor_set_shape(tensor: *mut c_void, shape: Shape) -> c_int;
    fn ov_tensor_get_shape(tensor: *mut c_void, shape: *mut Shape) -> c_int;
    fn ov_tensor_data(tensor: *mut c_void, data: *mut *mut c_void) -> c_int;
}

fn check(status: c_int) -> Result<(), String> {
    if status == 0 {
        return Ok(());
    }
    let message = unsafe { CStr::from_ptr(ov_get_last_err_msg()) }.to_string_lossy();
    Err(message.trim().lines().last().unwrap_or_default().to_string())
}

/// Returns width, height, channels and the bytes of a PPM or PGM file.
fn read_picture(content: &[u8]) -> Option<(usize, usize, usize, &[u8])> {
    let channels = if content.starts_with(b"P6") { 3 } else { 1 };
    let (mut numbers, mut at) = (vec![], 2);
    while numbers.len() < 3 {
        while content.get(at)?.is_ascii_whitespace() {
            at += 1;
        }
        let length = content[at..].iter().position(|byte| byte.is_ascii_whitespace())?;
        if content[at] != b'#' {
            let digits = std::str::from_utf8(&content[at..at + length]).ok()?;
            numbers.push(digits.parse::<usize>().ok()?);
            at += length;
        } else {
            at += content[at..].iter().position(|&byte| byte == b'\n')?; // A comment.
        }
    }
    let bytes = content.get(at + 1..at + 1 + numbers[0] * numbers[1] * channels)?;
    (numbers[2] == 255 && b"56".contains(&content[1])).then(|| (numbers[0], numbers[1], channels, bytes))
}

fn restore(model_path: &str, source: &str, target: &str) -> Result<(), String> {
    let content = fs::read(source).map_err(|error| format!("{source}: {error}"))?;
    let (width, height, channels, bytes) =
        read_picture(&content).ok_or(format!("{source} is no binary PPM or PGM of 8 bits"))?;
    let path = CString::new(model_path).unwrap();
    // Without the hint it computes in bfloat16 on processors that can.
    let [device, key, value] =
        ["CPU", "INFERENCE_PRECISION_HINT", "f32"].map(|text| CString::new(text).unwrap());
    let (mut core, mut model, mut request) = (null_mut(), null_mut(), null_mut());
    let (mut tensor, mut data) = (null_mut(), null_mut());
    let mut sides = [1, height as i64, width as i64, channels as i64];
    let mut shape = Shape { rank: 4, sides: sides.as_mut_ptr() };
    unsafe {
        check(ov_core_create(&mut core))?;
        check(ov_core_compile_model_from_file(
            core, path.as_ptr(), device.as_ptr(), 2, &mut model, key.as_ptr(), value.as_ptr(),
        ))?;
        check(ov_compiled_model_create_infer_request(model, &mut request))?;
        check(ov_infer_request_get_input_tensor(request, &mut tensor))?;
        check(ov_tensor_set_shape(tensor, Shape { ..shape }))?;
        check(ov_tensor_data(tensor, &mut data))?;
        let pixels = slice::from_raw_parts_mut(data as *mut f32, bytes.len());
        pixels.iter_mut().zip(bytes).for_each(|(pixel, &byte)| *pixel = byte as f32 / 255.0);
        check(ov_infer_request_infer(request))?;
        check(ov_infer_request_get_output_tensor(request, &mut tensor))?;
        check(ov_tensor_get_shape(tensor, &mut shape))?;
        check(ov_tensor_data(tensor, &mut data))?;
        let sides = slice::from_raw_parts(shape.sides, 4);
        let restored = slice::from_raw_parts(data as *const f32, sides.iter().product::<i64>() as usize);
        let kind = if sides[3] == 3 { "P6" } else { "P5" };
        let mut file = format!("{kind}\n{} {}\n255\n", sides[2], sides[1]).into_bytes();
        file.extend(restored.iter().map(|level| (level * 255.0).round() as u8)); // `as` clips.
        fs::write(target, file).map_err(|error| format!("{target}: {error}"))
    }
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if arguments.len() != 4 {
        eprintln!("usage: restore NAME/1 PICTURE.ppm RESTORED.ppm");
        process::exit(2);
    }
    if let Err(message) = restore(&arguments[1], &arguments[2], &arguments[3]) {
        eprintln!("restore: {message}");
        process::exit(1);
    }
}
