"""The style of the page, and the script for what the browser does alone: painting a mask, moving the slider."""

STYLE = """
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
.pictures figure, .stages figure { margin: 0; max-width: 100%; }
.pictures img, .stages img, .painter img { image-rendering: pixelated; max-width: 100%; height: auto; display: block; }
.pictures figcaption, .stages figcaption { font-size: 0.85rem; margin-top: 0.25rem; }
.progress { min-height: 1.5rem; font-variant-numeric: tabular-nums; }
.progress progress { accent-color: var(--color-accent); vertical-align: middle; }
.files a { margin-right: 1.5rem; color: var(--link-text-color); }
.refused { border-left: 4px solid #c62828; padding: 0.5rem 0.75rem; overflow-wrap: anywhere; color: var(--body-text-color); }
.walk input { width: 100%; accent-color: var(--color-accent); }
.painter { max-width: 320px; }
.painter .stack { position: relative; width: 100%; }
.painter .stack img { width: 100%; }
.painter canvas { position: absolute; inset: 0; width: 100%; height: 100%; image-rendering: pixelated; opacity: 0.6;
  touch-action: none; cursor: crosshair; }
.painter .tools { display: flex; flex-wrap: wrap; gap: 0.75rem; align-items: center; margin-top: 0.5rem; }
.painter button { border: 1px solid var(--border-color-primary); border-radius: 6px; padding: 0.2rem 0.6rem; }
[id$="-shown"] .pending { opacity: 1; }
"""

SCRIPT = """<script>
(() => {
  const COLOUR = "#ff5722";
  let last = null;
  const dab = (canvas, event) => {
    const box = canvas.getBoundingClientRect(), context = canvas.getContext("2d");
    const across = canvas.width / box.width, down = canvas.height / box.height;
    const at = { x: (event.clientX - box.left) * across, y: (event.clientY - box.top) * down };
    const from = last || at, brush = Number(canvas.closest(".painter").querySelector("input").value);
    const count = Math.ceil(Math.hypot(at.x - from.x, at.y - from.y)) + 1;
    context.fillStyle = COLOUR;
    for (let i = 0; i <= count; i++) {
      context.beginPath();
      context.arc(from.x + (at.x - from.x) * i / count, from.y + (at.y - from.y) * i / count, brush / 2, 0, 2 * Math.PI);
      context.fill();
    }
    last = at;
  };
  const canvasOf = (event) => event.target.closest && event.target.closest(".painter canvas");
  document.addEventListener("pointerdown", (event) => {
    const canvas = canvasOf(event);
    if (!canvas) return;
    canvas.setPointerCapture(event.pointerId);
    last = null;
    dab(canvas, event);
    event.preventDefault();
  });
  document.addEventListener("pointermove", (event) => {
    const canvas = canvasOf(event);
    if (canvas && event.buttons) dab(canvas, event);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest && event.target.closest(".painter button");
    if (!button) return;
    const canvas = button.closest(".painter").querySelector("canvas"), context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = COLOUR;
    if (button.dataset.fill === "half") context.fillRect(Math.floor(canvas.width / 2), 0, canvas.width, canvas.height);
  });
  document.addEventListener("input", (event) => {
    const slider = event.target.closest && event.target.closest(".walk input");
    if (!slider) return;
    const stages = slider.closest(".walk").querySelectorAll(".stages > div");
    stages.forEach((stage, number) => { stage.hidden = number !== Number(slider.value); });
  });
  // the mask as text, row by row, 1 where at least half of a pixel is painted
  window.lightdiffMask = (name) => {
    const canvas = document.querySelector(`#${name} canvas`);
    if (!canvas) return "";
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return Array.from({ length: canvas.width * canvas.height }, (_, i) => data[4 * i + 3] > 127 ? "1" : "0").join("");
  };
  // a frame may still be on its way when the work is stopped, so that frames are watched until the next work begins
  window.lightdiffStopped = (name) => {
    const shown = document.getElementById(name);
    const settle = () => shown.querySelectorAll(".going").forEach((frame) => {
      const line = frame.querySelector(".progress");
      frame.classList.replace("going", "stopped");
      line.textContent = `stopped at ${line.dataset.words}`;
    });
    settle();
    const observer = new MutationObserver(settle);
    observer.observe(shown, { childList: true, subtree: true });
    const go = document.getElementById(name.replace("-shown", "-go"));
    go.addEventListener("click", () => observer.disconnect(), { once: true });
  };
})();
</script>"""
