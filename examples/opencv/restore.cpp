// Restores a picture with OpenCV's own runtime, in tiles of the one size that the file has:
//
//     restore saved_models/NAME/onnx/NAME-256x256.onnx noisy.jpg restored.png
//
// manifest.json lies beside the folder onnx. Pictures are 8-bit, grey or in colour, as the network is.
#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <opencv2/dnn.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <regex>

static std::string first(const std::string& text, const char* pattern) {
  std::smatch found;
  if (!std::regex_search(text, found, std::regex(pattern)))
    throw std::runtime_error(std::string("nothing there that matches ") + pattern);
  return found[1];
}

// (H, W, C) bytes to (H * scale, W * scale, C) floats in [0, 1]. OpenCV's colours begin with blue.
static cv::Mat run(cv::dnn::Net& network, const cv::Mat& tile) {
  const bool colour = tile.channels() == 3;
  network.setInput(cv::dnn::blobFromImage(tile, 1 / 255.0, cv::Size(), cv::Scalar(), colour));
  std::vector<cv::Mat> restored;
  cv::dnn::imagesFromBlob(network.forward(), restored);  // From (1, C, H, W).
  if (colour) cv::cvtColor(restored[0], restored[0], cv::COLOR_RGB2BGR);
  return restored[0];
}

static cv::Mat restore(cv::dnn::Net& network, const cv::Mat& picture, cv::Size tile, int overlap, int scale) {
  if (picture.size() == tile) return run(network, picture);
  const int down = tile.height - 2 * overlap, across = tile.width - 2 * overlap;
  if (down <= 0 || across <= 0) throw std::runtime_error("the network sees too far for such tiles");
  // The picture's own mirror image stands in for what lies beyond its edges.
  cv::Mat padded, restored;
  cv::copyMakeBorder(picture, padded, overlap, overlap + down, overlap, overlap + across, cv::BORDER_REFLECT);
  for (int y = 0; y < picture.rows; y += down) {
    for (int x = 0; x < picture.cols; x += across) {
      const cv::Mat tiled = run(network, padded(cv::Rect({x, y}, tile)).clone());
      if (restored.empty()) restored.create(picture.size() * scale, tiled.type());
      const cv::Size size(std::min(across, picture.cols - x), std::min(down, picture.rows - y));
      tiled(cv::Rect(cv::Point(overlap, overlap) * scale, size * scale))
          .copyTo(restored(cv::Rect(cv::Point(x, y) * scale, size * scale)));
    }
  }
  return restored;
}

int main(int argc, char** argv) try {
  if (argc != 4) {
    std::cerr << "usage: restore NAME/onnx/NAME-HEIGHTxWIDTH.onnx PICTURE RESTORED.png\n";
    return 2;
  }
  const std::string file = argv[1], folder = file.substr(0, file.find_last_of('/') + 1);
  std::ifstream stream(folder + "../manifest.json");
  const std::string manifest{std::istreambuf_iterator<char>(stream), {}};
  const int overlap = std::stoi(first(manifest, "\n  \"tile_overlap\": (\\d+)"));
  const int scale = std::stoi(first(manifest, "\n  \"scale\": (\\d+)"));
  const bool grey = first(manifest, "\n  \"channels_in\": ([13])\\b") == "1";
  const cv::Size tile(std::stoi(first(file, "x(\\d+)\\.onnx$")), std::stoi(first(file, "-(\\d+)x\\d+\\.onnx$")));

  const cv::Mat picture = cv::imread(argv[2], grey ? cv::IMREAD_GRAYSCALE : cv::IMREAD_COLOR);
  if (picture.empty()) throw std::runtime_error(std::string(argv[2]) + " is no picture");
  cv::dnn::Net network = cv::dnn::readNetFromONNX(file);
  cv::Mat bytes;
  restore(network, picture, tile, overlap, scale).convertTo(bytes, CV_8U, 255);  // Rounds and clips.
  if (!cv::imwrite(argv[3], bytes)) throw std::runtime_error(std::string("cannot write ") + argv[3]);
} catch (const std::exception& error) {
  const std::string message = error.what();
  std::cerr << "restore: " << message.substr(0, message.find('\n')) << "\n";
  return 1;
}
