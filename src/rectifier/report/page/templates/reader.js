"use strict";
(() => {
  const spelled = (name) => name.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
  // What a chart shows, as a table: for who does not see it, and for who wants the values.
  const few = (all, most) => (all.length <= most ? all
    : Array.from({ length: most }, (_, index) => all[Math.round((index * (all.length - 1)) / (most - 1))]));
  const told = (value) => typeof value === "number" ? String(Number(value.toPrecision(4))) : spelled(String(value ?? ""));
  const named = (axis, value) => {
    const index = (axis.tickvals ?? []).indexOf(value);
    return index >= 0 ? spelled(axis.ticktext[index]) : axis.ticktext ? `row ${value + 1}` : told(value);
  };
  const shownBy = ({ data, layout }) => {
    const title = spelled(layout.xaxis.title?.text ?? "");
    const heat = data.find((trace) => trace.type === "heatmap");
    if (heat) {
      const ends = few(heat.x.slice(1).map((_, index) => index), 10);
      const percent = heat.zmax === 1 ? 100 : 1;
      const rows = heat.z.map((cells, row) => [named(layout.yaxis, heat.y[row]),
        ...ends.map((index) => (cells[index] === null ? "" : `${Number((percent * cells[index]).toPrecision(3))}%`))]);
      return { head: ["", ...ends.map((index) => `to step ${Math.round(heat.x[index + 1] - 0.5)}`)], rows };
    }
    const lines = data.filter((trace) => trace.hoverinfo !== "skip");
    const words = lines.flatMap((trace) => trace.hovertext ?? []);
    if (words.length) return { head: [title], rows: words.map((word) => [spelled(word)]) };
    const [along, across] = layout.yaxis.ticktext ? ["y", "x"] : ["x", "y"];
    const keys = [...new Set(lines.flatMap((trace) => trace[along]))].filter((key) => key !== null).sort((a, b) => a - b);
    const columns = lines.map((trace) => new Map(trace[along].map((key, index) => [key, trace.meta ?? trace[across][index]])));
    return {
      head: [along === "x" ? title : "", ...lines.map((trace) => spelled(trace.name ?? "value"))],
      rows: keys.map((key) => [named(layout[`${along}axis`], key), ...columns.map((column) => told(column.get(key)))]),
    };
  };
  const MOST_ROWS = 100;
  const element = (name, text, rest = {}) => Object.assign(document.createElement(name), { textContent: text, ...rest });
  const tabulated = (part) => {
    const { head, rows } = shownBy(JSON.parse(document.querySelector(`[data-chart="${part.dataset.chart}"]`).textContent));
    const shown = few(rows, MOST_ROWS);
    const table = document.createElement("table");
    const name = part.querySelector("summary").textContent;
    const cut = shown.length < rows.length;
    table.append(element("caption", cut ? `${name} (${shown.length} of ${rows.length} rows)` : name, { className: cut ? "" : "hidden" }));
    const line = (cells, tag, scope) => {
      const row = document.createElement("tr");
      row.append(...cells.map((cell, index) => element(index ? tag : "th", cell, index && tag === "td" ? {} : { scope })));
      return row;
    };
    table.append(line(head, "th", "col"), ...shown.map((cells) => line(cells, "td", "row")));
    const frame = element("div", "", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: name });
    frame.append(table);
    part.append(frame);
  };
  document.querySelectorAll("details.numbers").forEach((part) => {
    part.hidden = false;
    part.addEventListener("toggle", () => { if (part.open && !part.querySelector("table")) tabulated(part); });
  });

  // A link to a layer also moves the keyboard there.
  const follow = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tabIndex === -1) target.focus();
  };
  addEventListener("hashchange", follow);

  // A page that is loaded again leaves its reader where he was: parts are known by what they are about, the place by
  // the heading above it, because findings and layers may have come in between.
  const kept = `rectifier ${location.pathname}`;
  const parts = () => [...document.querySelectorAll("details[data-part]")];
  const anchors = () => [...document.querySelectorAll("main :is(h2, h3, h4, h5, tr)[id]")];
  const again = () => {
    const above = anchors().findLast((place) => place.checkVisibility() && place.getBoundingClientRect().top < innerHeight / 3);
    const place = {
      open: parts().filter((part) => part.open).map((part) => part.dataset.part),
      focus: document.activeElement.closest("summary")?.parentElement.dataset.part,
      above: above?.id,
      top: above ? above.getBoundingClientRect().top : -scrollY,
    };
    try {
      sessionStorage.setItem(kept, JSON.stringify(place));
      history.scrollRestoration = "manual";
    } catch { /* This browser keeps nothing. */ }
    location.reload();
  };
  const returned = () => {
    let place = null;
    try { place = JSON.parse(sessionStorage.getItem(kept)); } catch { /* This browser keeps nothing. */ }
    if (!place) return;
    sessionStorage.removeItem(kept);
    parts().forEach((part) => { part.open = place.open.includes(part.dataset.part); });
    parts().find((part) => part.dataset.part === place.focus)?.querySelector("summary").focus({ preventScroll: true });
    const above = place.above ? document.getElementById(place.above) : document.body;
    if (above) scrollBy(0, above.getBoundingClientRect().top - place.top);
    // Until it has loaded, the browser would put back the number of pixels, which is another place by now.
    addEventListener("load", () => setTimeout(() => { history.scrollRestoration = "auto"; }, 500));
  };

  // A page of a training that is going on. One that nobody writes any more would load itself for ever.
  const going = document.querySelector(".refresh");
  if (going) {
    const seconds = Number(going.dataset.seconds);
    const said = going.querySelector("[role=status]");
    const pause = going.querySelector("button");
    const old = () => Date.now() / 1000 - Number(going.dataset.written) > 60 + 10 * seconds;
    const timer = setTimeout(() => {
      if (old()) said.textContent = "This page has not been written again for a while, and loads itself no more.";
      else again();
    }, 1000 * seconds);
    pause.hidden = false;
    pause.addEventListener("click", () => {
      clearTimeout(timer);
      said.textContent = "Stopped. Load the page again to see how the training has gone on.";
      pause.hidden = true;
    });
  }

  const copy = async (button) => {
    const command = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(command.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(command);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };
  document.querySelectorAll("button.copy").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  });

  // Last, when nothing above can change its height any more.
  returned();
})();
