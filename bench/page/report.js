"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function press(buttons, chosen) {
  for (const button of buttons) button.setAttribute("aria-pressed", String(button === chosen));
}

const plain = (value, digits) => value.toFixed(digits).replace("-", "\u2212");
const signed = (value) => (value < 0 ? "\u2212" : "+") + Math.abs(value).toFixed(1) + "\u202f%";
const titles = new Map(data.published.map((one) => [one.name, one.title]));
const titleOf = (name) => titles.get(name) ?? name;

/* Bits for the same quality */

function rateOf(test, anchor, metric) {
  return data.rates.find((r) => r.test === test && r.anchor === anchor && r.metric === metric);
}

function showRates(anchor) {
  const tiles = [];
  for (const metric of data.metrics) {
    const rate = rateOf("aec", anchor, metric.key);
    if (!rate) continue;
    const bits = rate.percent < 0 ? "fewer" : "more";
    const text = `${bits} bits than ${titleOf(anchor)} for the same ${metric.label}`;
    const number = make("b", { textContent: Math.abs(rate.percent).toFixed(1) + "\u202f%" });
    tiles.push(make("div", { className: "tile" }, number, make("span", { textContent: text })));
  }
  $("tiles").replaceChildren(...tiles);

  const heads = ["", ...data.metrics.map((metric) => metric.label)];
  const head = make("tr", {}, ...heads.map((text) => make("th", { textContent: text })));
  const names = [...data.codecs, ...data.published.map((one) => one.name)];
  const rows = names.filter((name) => name !== anchor).map((name) => {
    const kind = name === "aec" ? "ours" : titles.has(name) ? "published" : "codec";
    const label = make("td", { textContent: titleOf(name) });
    if (kind === "published") label.append(make("small", { textContent: "published" }));
    const cells = data.metrics.map((metric) => {
      const rate = rateOf(name, anchor, metric.key);
      if (!rate) return make("td", { className: "none", textContent: "\u2013" });
      const digits = metric.unit ? 1 : 0;
      const range = `${plain(rate.low, digits)} to ${plain(rate.high, digits)} ${metric.unit}`;
      const points = `${rate.test_points} and ${rate.anchor_points} points`;
      const small = make("small", { textContent: `${range.trim()}, ${points}` });
      return make("td", { textContent: signed(rate.percent) }, small);
    });
    return make("tr", { className: kind }, label, ...cells);
  });
  $("rates").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
}

const anchors = [...data.codecs.filter((name) => name !== "aec"), ...titles.keys()];
if (data.rates.length && anchors.length) {
  $("anchor").append(...anchors.map((name) => new Option(titleOf(name), name)));
  $("anchor").value = anchors.includes("jpeg") ? "jpeg" : anchors[0];
  $("anchor").addEventListener("change", () => showRates($("anchor").value));
  showRates($("anchor").value);
} else {
  $("numbers").hidden = true;
}

/* Curves */

const metricTabs = all("#curves .tabs button");
for (const tab of metricTabs) {
  tab.addEventListener("click", () => {
    press(metricTabs, tab);
    for (const figure of all("figure.curves")) {
      figure.hidden = figure.dataset.metric !== tab.dataset.metric;
    }
    $("tip").hidden = true;
  });
}

function focusCurve(svg, name) {
  svg.classList.toggle("focus", name !== null);
  for (const part of all(".curve, .key", svg)) part.classList.toggle("on", part.dataset.name === name);
}

function clearPoint(svg) {
  for (const dot of all(".dot.on", svg)) dot.classList.remove("on");
  $("tip").hidden = true;
}

function nearestDot(svg, event) {
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  let best = null;
  let least = 36 ** 2;
  for (const dot of all(".dot", svg)) {
    const far = (dot.cx.baseVal.value - at.x) ** 2 + (dot.cy.baseVal.value - at.y) ** 2;
    if (far < least) [best, least] = [dot, far];
  }
  return best;
}

function showPoint(svg, dot) {
  clearPoint(svg);
  dot.classList.add("on");
  const curve = dot.parentNode;
  focusCurve(svg, curve.dataset.name);
  const metric = data.metrics.find((one) => one.key === svg.dataset.metric);
  const setting = dot.dataset.setting === undefined ? "" : `, setting ${dot.dataset.setting}`;
  const published = curve.classList.contains("published") ? ", published" : "";
  const value = `${plain(Number(dot.dataset.value), 2)} ${metric.unit}`.trim();
  $("tip").replaceChildren(
    make("b", { textContent: curve.dataset.label + setting + published }),
    `${Number(dot.dataset.bpp).toFixed(3)} bpp, ${metric.unit ? value : `${metric.label} ${value}`}`,
  );
  const box = dot.getBoundingClientRect();
  const plot = $("tip").parentNode.getBoundingClientRect();
  $("tip").style.left = `${box.left + box.width / 2 - plot.left}px`;
  $("tip").style.top = `${box.top - plot.top}px`;
  $("tip").hidden = false;
}

for (const svg of all("figure.curves .chart")) {
  svg.addEventListener("pointermove", (event) => {
    const key = event.target.closest(".key");
    const dot = key ? null : nearestDot(svg, event);
    if (dot) return showPoint(svg, dot);
    clearPoint(svg);
    focusCurve(svg, key ? key.dataset.name : null);
  });
  svg.addEventListener("pointerleave", () => {
    clearPoint(svg);
    focusCurve(svg, null);
  });
}

/* Pictures */

const state = { picture: null, view: null, against: "original", flipped: false, mode: "flip", zoom: 1, split: 0.5 };
const stage = $("stage");

const viewNamed = (name) => state.picture.views.find((view) => view.name === name);

function tagOf(view) {
  if (view.name === "original") return "original";
  return `${view.name}, ${view.bpp.toFixed(3)} bpp`;
}

function draw() {
  const view = viewNamed(state.view);
  const against = viewNamed(state.against) ?? state.picture.views[0];
  const slide = state.mode === "slide";
  const shown = !slide && state.flipped ? against : view;
  const [left, top, right, bottom] = state.picture.box;
  const scale = state.zoom / (state.zoom > 1 ? 1 : Math.max(1, (right - left) / (stage.clientWidth || 1016)));
  $("sheet").style.width = `${(right - left) * scale}px`;
  $("sheet").style.height = `${(bottom - top) * scale}px`;
  $("under").src = (slide ? against : shown).src;
  $("over").src = shown.src;
  $("over").style.clipPath = slide ? `inset(0 0 0 ${100 * state.split}%)` : "";
  $("handle").style.left = `${100 * state.split}%`;
  $("handle").hidden = !slide;
  $("left").textContent = tagOf(slide ? against : shown);
  $("right").textContent = slide ? tagOf(view) : "";
  Object.assign(stage.dataset, { shown: shown.name, mode: state.mode, zoom: state.zoom });
  press(all("#views button"), all("#views button").find((b) => b.dataset.view === state.view));
}

function showView(name) {
  state.view = name;
  state.flipped = false;
  draw();
}

function showPicture(picture) {
  state.picture = picture;
  press(all("#names button"), all("#names button")[data.views.indexOf(picture)]);
  for (const view of picture.views) new Image().src = view.src; // decoded before it is flipped to
  $("views").replaceChildren(...picture.views.map((view) => {
    const facts = [];
    if (view.bpp !== undefined) {
      facts.push(`${view.bpp.toFixed(3)} bpp`);
      const metric = data.metrics[0];
      const value = view.values[metric.key];
      if (typeof value === "number") facts.push(`${plain(value, 2)} ${metric.unit}`.trim());
    } else {
      facts.push(`${picture.size[0]}\u00d7${picture.size[1]}`);
    }
    const button = make("button", { type: "button", className: view.name === "aec" ? "ours" : "" });
    button.dataset.view = view.name;
    button.title = Object.entries(view.values ?? {}).filter(([, v]) => v !== null).map(([key, value]) =>
      `${data.metrics.find((one) => one.key === key).label} ${plain(value, 2)}`).join(", ");
    button.append(view.name, make("small", { textContent: facts.join(", ") }));
    button.addEventListener("click", () => showView(view.name));
    return button;
  }));
  const names = picture.views.map((view) => view.name);
  $("against").replaceChildren(...names.map((name) => new Option(name, name)));
  if (!names.includes(state.against)) state.against = "original";
  $("against").value = state.against;
  if (!names.includes(state.view)) state.view = names.includes("aec") ? "aec" : names.at(-1);
  state.flipped = false;
  draw();
}

function flip() {
  state.flipped = !state.flipped;
  draw();
}

function slideTo(event) {
  const box = $("sheet").getBoundingClientRect();
  state.split = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  draw();
}

function zoomTo(zoom) {
  const x = (stage.scrollLeft + stage.clientWidth / 2) / stage.scrollWidth;
  const y = (stage.scrollTop + stage.clientHeight / 2) / stage.scrollHeight;
  state.zoom = zoom;
  draw();
  stage.scrollTo(x * stage.scrollWidth - stage.clientWidth / 2, y * stage.scrollHeight - stage.clientHeight / 2);
}

if (data.views.length) {
  const stems = data.views.map((picture) => picture.name.replace(/\.[^.]+$/, ""));
  $("names").append(...data.views.map((picture, number) => {
    const unique = stems.indexOf(stems[number]) === stems.lastIndexOf(stems[number]);
    const textContent = unique ? stems[number] : picture.name;
    const button = make("button", { type: "button", textContent, title: picture.name });
    button.addEventListener("click", () => showPicture(picture));
    return button;
  }));
  const zooms = [1, 2, 4, 8].map((zoom) => {
    const button = make("button", { type: "button", textContent: `${zoom}\u00d7` });
    button.dataset.zoom = zoom;
    button.addEventListener("click", () => {
      press(zooms, button);
      zoomTo(zoom);
    });
    return button;
  });
  $("zoom").append(...zooms);
  press(zooms, zooms[0]);
  const modes = all("button[data-mode]");
  for (const button of modes) {
    button.addEventListener("click", () => {
      press(modes, button);
      Object.assign(state, { mode: button.dataset.mode, flipped: false });
      draw();
    });
  }
  $("against").addEventListener("change", () => {
    state.against = $("against").value;
    draw();
  });
  let dragged = 0; // pixels since the button went down: a drag moves the picture, a click flips it
  stage.addEventListener("click", () => state.mode === "flip" && dragged < 5 && flip());
  stage.addEventListener("pointerdown", (event) => {
    dragged = 0;
    if (state.mode !== "slide") return;
    stage.setPointerCapture(event.pointerId);
    slideTo(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!event.buttons) return;
    if (state.mode === "slide") return slideTo(event);
    dragged += Math.hypot(event.movementX, event.movementY);
    stage.scrollBy(-event.movementX, -event.movementY);
  });
  stage.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === " ") flip();
    else if (step) {
      const names = state.picture.views.map((view) => view.name);
      showView(names[(names.indexOf(state.view) + step + names.length) % names.length]);
    } else return;
    event.preventDefault();
  });
  addEventListener("resize", draw);
  showPicture(data.views[0]);
} else {
  $("pictures").hidden = true;
}
