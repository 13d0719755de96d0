// A picture to try, where a visitor has none at hand.

const normal = () =>
  Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

function scene(side) {
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext("2d");
  context.scale(side / 640, side / 640);
  const sky = context.createLinearGradient(0, 0, 0, 460);
  for (const [at, colour] of [[0, "#37628f"], [0.6, "#c99a7c"], [1, "#f0d2a4"]]) {
    sky.addColorStop(at, colour);
  }
  context.fillStyle = sky;
  context.fillRect(0, 0, 640, 640);
  context.fillStyle = "#fbeec4";
  context.beginPath();
  context.arc(452, 250, 44, 0, 7);
  context.fill();
  const ridges = [["#6d7f93", 300, 70, 0.9], ["#4b6275", 360, 60, 2.2], ["#2f4450", 430, 46, 4.1]];
  for (const [colour, base, height, phase] of ridges) {
    context.fillStyle = colour;
    context.beginPath();
    context.moveTo(0, 640);
    for (let x = 0; x <= 640; x += 4) {
      const wave = Math.sin(x / 71 + phase) + 0.5 * Math.sin(x / 29 + 2 * phase);
      context.lineTo(x, base - height * wave);
    }
    context.lineTo(640, 640);
    context.fill();
  }
  context.fillStyle = "#1b2a2b";
  for (let i = 0; i < 46; i++) {
    const [x, height] = [i * 14.5 - 6, 44 + 38 * Math.abs(Math.sin(i * 2.3))];
    const foot = 640;
    for (let part = 0; part < 3; part++) {
      const top = foot - height - 60 + part * 22;
      context.beginPath();
      context.moveTo(x, top);
      context.lineTo(x + 11 + 3 * part, top + 42);
      context.lineTo(x - 11 - 3 * part, top + 42);
      context.fill();
    }
    context.fillRect(x - 9, foot - height - 8, 18, height + 8);
  }
  return context;
}

/**
 * Draws a picture with what a model is there to undo, so that none has to be shipped.
 *
 * @param {object} facts The model's.
 * @returns {Promise<File>} The picture.
 */
export async function example(facts) {
  const isLarge = facts.scale === 1;
  const side = isLarge ? 640 : 160;
  const context = scene(side);
  if (facts.channels_in === 4) {
    for (let i = 0; i < 60; i++) {
      context.clearRect(Math.random() * 640, Math.random() * 640, 8, 36);
    }
  } else if (isLarge && facts.task !== "deblock") {
    const image = context.getImageData(0, 0, side, side);
    for (let i = 0; i < image.data.length; i += 4) {
      const grey = 0.3 * image.data[i] + 0.59 * image.data[i + 1] + 0.11 * image.data[i + 2];
      const one = 20 * normal();
      for (let c = 0; c < 3; c++) {
        const isGrey = facts.channels_in === 1;
        image.data[i + c] = (isGrey ? grey : image.data[i + c]) + (isGrey ? one : 20 * normal());
      }
    }
    context.putImageData(image, 0, 0);
  }
  const kinds = { deblock: ["image/jpeg", 0.1] };
  const [type, quality] = kinds[facts.task] ?? ["image/png", 1];
  const blob = await context.canvas.convertToBlob({ type, quality });
  return new File([blob], `example.${type === "image/png" ? "png" : "jpg"}`, { type });
}
