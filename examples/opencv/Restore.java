// Restores a picture with OpenCV's own runtime, in tiles of the one size that the file has:
//
//     javac -cp /usr/share/java/opencv.jar -d build Restore.java
//     java -cp build:/usr/share/java/opencv.jar -Djava.library.path=/usr/lib/jni Restore \
//         saved_models/NAME/onnx/NAME-256x256.onnx noisy.jpg restored.png
//
// manifest.json lies beside the folder onnx. Pictures are 8-bit, grey or in colour, as the network is.

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.opencv.core.*;
import org.opencv.dnn.Dnn;
import org.opencv.dnn.Net;
import org.opencv.imgcodecs.Imgcodecs;
import org.opencv.imgproc.Imgproc;

public class Restore {
  static int number(String text, String pattern) {
    Matcher found = Pattern.compile(pattern).matcher(text);
    if (!found.find()) throw new IllegalArgumentException("nothing there that matches " + pattern);
    return Integer.parseInt(found.group(1));
  }

  /** (H, W, C) bytes to (H * scale, W * scale, C) floats in [0, 1]. OpenCV's colours begin with blue. */
  static Mat run(Net network, Mat tile) {
    boolean colour = tile.channels() == 3;
    network.setInput(Dnn.blobFromImage(tile, 1 / 255.0, new Size(), new Scalar(0), colour));
    List<Mat> restored = new ArrayList<>();
    Dnn.imagesFromBlob(network.forward(), restored); // From (1, C, H, W).
    if (colour) Imgproc.cvtColor(restored.get(0), restored.get(0), Imgproc.COLOR_RGB2BGR);
    return restored.get(0);
  }

  static Mat restore(Net network, Mat picture, int height, int width, int overlap, int scale) {
    if (picture.rows() == height && picture.cols() == width) return run(network, picture);
    int down = height - 2 * overlap, across = width - 2 * overlap;
    if (down <= 0 || across <= 0) throw new IllegalArgumentException("the network sees too far");
    // The picture's own mirror image stands in for what lies beyond its edges.
    Mat padded = new Mat(), restored = new Mat();
    int more = overlap + down, right = overlap + across;
    Core.copyMakeBorder(picture, padded, overlap, more, overlap, right, Core.BORDER_REFLECT);
    for (int y = 0; y < picture.rows(); y += down) {
      for (int x = 0; x < picture.cols(); x += across) {
        Mat tile = run(network, padded.submat(new Rect(x, y, width, height)).clone());
        if (restored.empty())
          restored.create(picture.rows() * scale, picture.cols() * scale, tile.type());
        int rows = Math.min(down, picture.rows() - y) * scale;
        int columns = Math.min(across, picture.cols() - x) * scale;
        tile.submat(new Rect(overlap * scale, overlap * scale, columns, rows))
            .copyTo(restored.submat(new Rect(x * scale, y * scale, columns, rows)));
      }
    }
    return restored;
  }

  public static void main(String[] arguments) throws Exception {
    if (arguments.length != 3) {
      System.err.println("usage: Restore NAME/onnx/NAME-HEIGHTxWIDTH.onnx PICTURE RESTORED.png");
      System.exit(2);
    }
    try {
      System.loadLibrary(Core.NATIVE_LIBRARY_NAME);
      Path file = Path.of(arguments[0]).toAbsolutePath();
      String manifest = Files.readString(file.getParent().resolveSibling("manifest.json"));
      boolean grey = number(manifest, "\n  \"channels_in\": ([13])\\b") == 1;
      Mat picture = Imgcodecs.imread(
          arguments[1], grey ? Imgcodecs.IMREAD_GRAYSCALE : Imgcodecs.IMREAD_COLOR);
      if (picture.empty()) throw new IllegalArgumentException(arguments[1] + " is no picture");
      Mat restored = restore(
          Dnn.readNetFromONNX(file.toString()), picture,
          number(file.toString(), "-(\\d+)x\\d+\\.onnx$"), number(file.toString(), "x(\\d+)\\.onnx$"),
          number(manifest, "\n  \"tile_overlap\": (\\d+)"), number(manifest, "\n  \"scale\": (\\d+)"));
      restored.convertTo(restored, CvType.CV_8U, 255); // Rounds and clips.
      if (!Imgcodecs.imwrite(arguments[2], restored))
        throw new IllegalArgumentException("cannot write " + arguments[2]);
    } catch (Exception error) {
      System.err.println("Restore: " + error.getMessage().lines().findFirst().get());
      System.exit(1);
    }
  }
}
