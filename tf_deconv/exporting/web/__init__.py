"""A static page that runs one `.tflite` file in the browser."""
