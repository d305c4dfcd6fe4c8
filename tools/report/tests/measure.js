// What a browser made of the page: texts that lie over each other, out of their paper, too small or too faint.
const found = [];
const say = (what, text) => { if (found.length < 20) found.push(what + ": " + text); };
const luminance = (colour) => {
  const parts = colour.match(/[\d.]+/g).slice(0, 3).map((part) => {
    const value = part / 255;
    return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
};
const contrast = (one, other) => {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
let texts = 0;
for (const svg of document.querySelectorAll("svg.chart")) {
  const paper = svg.getBoundingClientRect();
  const ground = getComputedStyle(svg.querySelector(".paper")).fill;
  const boxes = [...svg.querySelectorAll("text")].map((text) => {
    const { left, right, top, bottom } = text.getBoundingClientRect();
    return { text: text.textContent, left, right, top, bottom, colour: getComputedStyle(text).fill };
  });
  const name = boxes[0].text;
  texts += boxes.length;
  for (const box of boxes) {
    if (box.left < paper.left - 1 || box.right > paper.right + 1) say("out of its paper in " + name, box.text);
    if (box.top < paper.top - 1 || box.bottom > paper.bottom + 1) say("above or below its paper in " + name, box.text);
    if (box.bottom - box.top < 8) say("too small in " + name, box.text);
    if (contrast(box.colour, ground) < 4.5) say("too faint in " + name, box.text + " " + box.colour + " on " + ground);
  }
  boxes.forEach((one, at) => boxes.slice(at + 1).forEach((other) => {
    const wide = Math.min(one.right, other.right) - Math.max(one.left, other.left);
    const high = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
    if (wide > 1 && high > 3) say("over each other in " + name, one.text + " / " + other.text);
  }));
}
if (document.documentElement.scrollWidth > innerWidth) say("wider than the window", document.documentElement.scrollWidth);
document.title = JSON.stringify({ texts, width: innerWidth, dark: matchMedia("(prefers-color-scheme: dark)").matches, found });
