"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const HUES = ["#3b76c9", "#e07b1f", "#2f9e62", "#cc4a4a", "#8c64c4", "#97705a", "#d46bb0", "#7a828c", "#a8a02a", "#26a3b5"];
  const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
  const hue = (group) => HUES[group % HUES.length];
  const dash = (group) => DASHES[Math.floor(group / HUES.length) % DASHES.length];
  const tint = (colour, alpha) => colour + Math.round(alpha * 255).toString(16).padStart(2, "0");
  // plotly.js reads a little HTML in names
  const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const array = (text) => ({ dtype: "f4", bdata: text });
  const state = { axis: "images", seeds: true, log: false, hidden: new Set(), version: 0 };

  new ResizeObserver(([{ target }]) => {
    document.documentElement.style.setProperty("--nav", `${target.offsetHeight}px`);
  }).observe(document.querySelector("nav"));
  all("[data-chip]").forEach((chip) => { chip.style.background = hue(+chip.dataset.chip); });

  // Curves: a panel is drawn when it comes into view, and again when it is stale and in view.
  function lines(panel) {
    const means = new Set(panel.traces.filter((t) => t.seeds && t[state.axis]).map((t) => t.group));
    const drawn = [];
    for (const trace of panel.traces) {
      if (state.hidden.has(trace.group)) continue;
      const colour = hue(trace.group);
      const line = { color: colour, dash: dash(trace.group) };
      if (trace.seeds) {
        const band = trace[state.axis];
        if (!band) continue;
        const x = array(band.x);
        const edge = { x, mode: "lines", hoverinfo: "skip", line: { width: 0, color: colour } };
        drawn.push(
          { ...edge, y: array(band.low) },
          { ...edge, y: array(band.high), fill: "tonexty", fillcolor: tint(colour, 0.18) },
          { x, y: array(band.mean), mode: "lines", line: { ...line, width: 2.2 },
            name: plain(`${data.labels[trace.group]}, mean of ${trace.seeds}`) },
        );
      } else {
        const x = state.axis === "hours" ? trace.h : trace.x;
        const thin = means.has(trace.group);
        if (x === null || (thin && !state.seeds)) continue;
        drawn.push({
          x: array(x), y: array(trace.y), name: plain(trace.run), opacity: thin ? 0.6 : 1,
          mode: trace.n < 3 ? "lines+markers" : "lines", marker: { color: colour, size: 6 },
          line: { ...line, width: thin ? 0.9 : 1.5 },
        });
      }
    }
    return drawn;
  }

  function layout() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = { gridcolor: colour("--grid"), zeroline: false, linecolor: colour("--line"), automargin: true };
    return {
      margin: { l: 46, r: 10, t: 6, b: 34 }, showlegend: false, hovermode: "closest",
      paper_bgcolor: "transparent", plot_bgcolor: "transparent",
      font: { family: "system-ui, sans-serif", size: 11, color: colour("--quiet") },
      hoverlabel: { namelength: 48 },
      xaxis: { ...axis, title: { text: state.axis === "hours" ? "device-hours" : "images seen", standoff: 4 },
        tickformat: state.axis === "hours" ? "" : "~s", rangemode: "tozero" },
      yaxis: { ...axis, type: state.log ? "log" : "linear", exponentformat: "power" },
    };
  }

  // The library takes most of a second to compile: the page is read meanwhile.
  function load() {
    if (window.Plotly) return;
    const script = document.createElement("script");
    script.textContent = document.getElementById("plotly").textContent;
    document.head.append(script);
    inView.forEach(draw);
  }

  function draw(figure) {
    if (!window.Plotly || figure.drawn === state.version) return;
    figure.drawn = state.version;
    const traces = lines(data.panels[+figure.dataset.panel]);
    Plotly.react(figure.querySelector(".plot"), traces, layout(), { displayModeBar: false, responsive: true })
      .then(() => { figure.dataset.axis = state.axis; figure.dataset.lines = traces.length; });
  }

  const inView = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) { inView.add(target); draw(target); } else inView.delete(target);
    }
  }, { rootMargin: "150px" });
  all(".panel").forEach((figure) => watcher.observe(figure));
  addEventListener("load", () => setTimeout(load, 50));

  function redraw() {
    state.version += 1;
    inView.forEach(draw);
  }

  all("input[name=axis]").forEach((input) => input.addEventListener("change", () => {
    state.axis = input.value;
    document.getElementById("axis-name").textContent = state.axis === "hours" ? "device-hours" : "images seen";
    redraw();
  }));
  for (const name of ["seeds", "log"]) {
    const box = document.getElementById(name);
    state[name] = box.checked;
    box.addEventListener("change", () => { state[name] = box.checked; redraw(); });
  }
  all("#legend button").forEach((button) => button.addEventListener("click", () => {
    const group = +button.dataset.group;
    const hide = !state.hidden.has(group);
    if (hide) state.hidden.add(group); else state.hidden.delete(group);
    button.setAttribute("aria-pressed", String(!hide));
    all(`[data-member="${group}"]`).forEach((film) => { film.hidden = hide; });
    redraw();
  }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  // Pictures: one clock for all films.
  const slider = document.getElementById("slider");
  if (slider) {
    const moving = data.films.filter((film) => !film.real);
    const times = [...new Set(moving.flatMap((film) => film.frames.map(([at]) => at)))].sort((a, b) => a - b);
    const show = () => {
      const now = times[+slider.value] ?? 0;
      document.getElementById("time").textContent = `${now.toLocaleString("en")} images`;
      slider.setAttribute("aria-valuetext", `${now} images seen`);
      all("[data-film]").forEach((figure) => {
        const film = data.films[+figure.dataset.film];
        const past = film.real ? film.frames : film.frames.filter(([at]) => at <= now);
        const [at, source] = past[past.length - 1] ?? [null, null];
        const image = figure.querySelector("img");
        if (source === null) image.removeAttribute("src");
        else if (image.getAttribute("src") !== source) image.src = source;
        if (!film.real) {
          figure.querySelector(".at").textContent = at === null ? "no picture yet" : `at ${at.toLocaleString("en")}`;
        }
      });
    };
    all(".films img").forEach((image) => image.addEventListener("load", () => {
      image.classList.toggle("enlarged", image.naturalWidth < image.clientWidth);
    }));
    slider.max = String(Math.max(times.length - 1, 0));
    slider.value = slider.max;
    slider.addEventListener("input", show);
    show();
  }
})();
