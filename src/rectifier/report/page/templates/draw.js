"use strict";
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)");
  // The dark twins of the colours in rectifier/report/drawing.py.
  const twins = {
    "#0072B2": "#5AB0E8", "#D55E00": "#F5894A", "#009E73": "#41C99C", "#CC79A7": "#E6A3C8", "#E69F00": "#F2BC4A", "#56B4E9": "#8FD0F5", "#77808A": "#98A2AD",
    "rgba(213,94,0,": "rgba(245,137,74,", "rgba(0,114,178,": "rgba(90,176,232,",
  };
  const isDark = () => dark.matches && !root.classList.contains("printing");
  const tinted = (text) => Object.entries(twins).reduce((all, [light, other]) => all.replaceAll(light, other), text);
  const variable = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  const pen = document.createElement("canvas").getContext("2d");
  const family = getComputedStyle(document.body).fontFamily;
  const spelled = (name) => name.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
  // Room for the names of the rows. Plotly's own measuring may not come to rest, and the font is known here only.
  const room = (axis) => {
    pen.font = `12px ${family}`;
    const names = (axis.ticktext ?? []).map((name) => pen.measureText(spelled(name)).width);
    return names.length ? Math.max(...names) + 10 : axis.showticklabels === false ? 8 : axis.title?.text ? 64 : 48;
  };

  const themed = (figure) => {
    // The frame on the page sets the height, and the legend stands above it.
    const { template, height, ...layout } = figure.layout;
    const line = variable("--line");
    const axes = {};
    for (const name of Object.keys(layout)) {
      if (/^[xy]axis\d*$/.test(name)) {
        axes[name] = { ...layout[name], automargin: false, gridcolor: line, linecolor: line, tickcolor: line };
      }
    }
    return {
      ...layout, ...axes,
      margin: { ...layout.margin, l: room(layout.yaxis), b: 44 }, showlegend: false,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true,
      dragmode: coarse.matches ? false : "zoom",
      font: { color: variable("--soft"), family, size: 12 },
      hoverlabel: { bgcolor: variable("--panel"), bordercolor: variable("--line"), font: { color: variable("--ink") } },
    };
  };

  const charts = [...document.querySelectorAll("script.chart-data")];
  const settings = { responsive: true, displaylogo: false, displayModeBar: false };
  const drawn = (source) => {
    const text = isDark() ? tinted(source.textContent) : source.textContent;
    const figure = JSON.parse(text);
    Plotly.react(source.dataset.chart, figure.data, themed(figure), settings);
  };
  const draw = () => charts.forEach(drawn);
  // One after the other, so that the page can be read and scrolled from the start; what is nearest to the reader first.
  const waiting = [...charts];
  const distance = (source) => {
    const { top, bottom } = source.previousElementSibling.getBoundingClientRect();
    return Math.max(top - innerHeight, -bottom, 0);
  };
  const drawNext = () => {
    const near = waiting.map(distance).reduce((best, far, index, all) => (far < all[best] ? index : best), 0);
    if (waiting.length) drawn(...waiting.splice(near, 1));
    if (waiting.length) setTimeout(drawNext);
    else performance.mark("drawn");
    // Where plotly measures words; nothing to be read.
    document.getElementById("js-plotly-tester")?.setAttribute("aria-hidden", "true");
  };
  setTimeout(drawNext);
  // Plotly looks at the window only; a frame also changes with what is unfolded beside it.
  const frames = new ResizeObserver((changed) => changed.forEach(({ target }) => {
    if (target.firstElementChild.data) Plotly.Plots.resize(target.firstElementChild);
  }));
  document.querySelectorAll(".chart").forEach((frame) => frames.observe(frame));
  dark.addEventListener("change", draw);

  // Paper is white, and has no part that could be unfolded.
  let unfolded = [];
  addEventListener("beforeprint", () => {
    unfolded = [...document.querySelectorAll("details:not([open], .numbers)")];
    unfolded.forEach((part) => { part.open = true; });
    root.classList.add("printing");
    draw();
  });
  addEventListener("afterprint", () => {
    unfolded.forEach((part) => { part.open = false; });
    root.classList.remove("printing");
    draw();
  });
})();
