"use strict";
(() => {
  // --- figures: drawn when they come near the view, in the colours of the page -----------------------------
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function template() {
    const ink = colour("--ink"), grid = colour("--grid"), muted = colour("--muted");
    const axis = { color: ink, gridcolor: grid, zerolinecolor: grid, linecolor: grid, tickcolor: muted };
    return {
      layout: {
        font: { color: ink }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", xaxis: axis, yaxis: axis,
        hoverlabel: { bgcolor: colour("--raised"), bordercolor: grid, font: { color: ink } },
        legend: { font: { color: ink } },
        modebar: { bgcolor: "rgba(0,0,0,0)", color: muted, activecolor: ink },
      },
    };
  }

  const touch = matchMedia("(pointer: coarse)").matches;
  const config = {
    responsive: true, displaylogo: false, modeBarButtons: [["toImage", "resetScale2d"]], displayModeBar: touch ? false : "hover",
  };
  const drawn = [];

  const plotly = window.Plotly ? Promise.resolve() : new Promise((resolve, reject) => {
    const script = document.querySelector("script[data-plotly]");
    if (!script) return reject(new Error("this page has no figures"));
    script.addEventListener("load", resolve);
    script.addEventListener("error", () => reject(new Error(script.getAttribute("src") + " is missing beside this page")));
  });

  async function draw(plot) {
    try {
      await plotly;
      const spec = JSON.parse(plot.parentElement.querySelector("script.spec").textContent);
      const layout = { ...spec.layout, template: template() };
      if (touch) layout.dragmode = false; // a finger scrolls the page
      await Plotly.newPlot(plot, spec.data, layout, config);
      drawn.push(plot);
      plot.dataset.drawn = "yes";
    } catch (error) {
      const note = document.createElement("p");
      note.className = "failed";
      note.textContent = "The figure cannot be drawn: " + error.message + ".";
      plot.replaceChildren(note);
    }
  }

  // One figure at a time, the page stays responsive in between.
  let queue = Promise.resolve();
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watcher.unobserve(entry.target);
      queue = queue.then(() => draw(entry.target)).then(() => new Promise((next) => setTimeout(next)));
    }
  }, { rootMargin: "400px 0px" });
  plotly.catch(() => {});
  for (const plot of document.querySelectorAll(".plot")) watcher.observe(plot);

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const plot of drawn) Plotly.relayout(plot, { template: template() });
  });

  // --- audio: one at a time, with a cursor along its figure; a click on the figure moves the sound ----------
  const players = [...document.querySelectorAll("audio")];
  for (const player of players) {
    player.addEventListener("play", () => {
      for (const other of players) if (other !== player) other.pause();
    });
    const plot = player.closest(".audio").querySelector(".timed .plot");
    if (plot) follow(player, plot);
  }

  function follow(player, plot) {
    const cursor = document.createElement("div");
    cursor.className = "cursor";

    function place() {
      const full = plot._fullLayout;
      if (!full || !full.xaxis) return;
      if (cursor.parentElement !== plot) plot.append(cursor);
      const x = full.xaxis.l2p(player.currentTime);
      const inside = x >= 0 && x <= full.xaxis._length;
      cursor.style.display = inside && (player.currentTime > 0 || !player.paused) ? "block" : "none";
      cursor.style.left = full.xaxis._offset + x + "px";
      cursor.style.top = full._size.t + "px";
      cursor.style.height = full._size.h + "px";
    }

    function run() {
      place();
      if (!player.paused) requestAnimationFrame(run);
    }
    player.addEventListener("play", run);
    for (const event of ["pause", "seeked", "ended"]) player.addEventListener(event, place);
    new ResizeObserver(() => setTimeout(place, 200)).observe(plot);

    let pressed = null; // where the button went down: a drag zooms, only a click seeks
    plot.addEventListener("pointerdown", (event) => { pressed = event.clientX; }, true);
    plot.addEventListener("click", (event) => {
      const full = plot._fullLayout;
      if (!full || pressed === null || Math.abs(event.clientX - pressed) > 4 || event.target.closest(".modebar")) return;
      const box = plot.getBoundingClientRect();
      const x = event.clientX - box.left - full.xaxis._offset;
      const y = event.clientY - box.top - full._size.t;
      if (x < 0 || x > full.xaxis._length || y < 0 || y > full._size.h) return;
      const time = Math.max(0, full.xaxis.p2l(x));
      player.currentTime = Number.isFinite(player.duration) ? Math.min(time, player.duration) : time;
      place();
    }, true);
  }

  // --- points found by their label: all that hold what is typed, named where they are it --------------------
  const MOST_NAMED = 25;
  for (const box of document.querySelectorAll(".find input")) {
    const plot = box.closest(".figure").querySelector(".plot"), said = box.parentElement.querySelector("output");
    box.addEventListener("input", () => find(plot, box.value, said));
    box.addEventListener("keydown", (event) => {
      if (event.key === "Enter") show(plot);
    });
  }

  const shown = (label) => label.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
  const bare = (label) => shown(label).replace(/^[“"']\s*|\s*[”"']$/g, "").trim().toLowerCase();

  function find(plot, typed, said) {
    if (!plot.calcdata) return;
    const wanted = typed.trim().toLowerCase(), hits = [];
    const at = plot.data.findIndex((trace) => trace.meta === "found");
    plot.data.forEach((trace, n) => {
      if (!wanted || n === at || trace.mode !== "markers") return;
      trace.text.forEach((label, i) => {
        const point = plot.calcdata[n][i];
        if (bare(label).includes(wanted)) hits.push({ x: point.x, y: point.y, label, same: bare(label) === wanted });
      });
    });
    hits.sort((a, b) => b.same - a.same || a.label.length - b.label.length);
    const named = hits.some((hit) => hit.same) ? hits.filter((hit) => hit.same) : hits.slice(0, MOST_NAMED);
    const found = {
      type: "scatter", mode: "markers+text", name: "found", meta: "found", legendrank: 0, showlegend: false,
      x: hits.map((hit) => hit.x), y: hits.map((hit) => hit.y), customdata: hits.map((hit) => hit.label),
      text: hits.map((hit) => (named.includes(hit) ? hit.label : "")), textposition: "bottom center",
      marker: { symbol: "circle-open", size: 14, color: colour("--accent"), line: { width: 3 } },
      hovertemplate: "%{customdata}<extra></extra>",
    };
    const traces = plot.data.filter((trace) => trace.meta !== "found");
    Plotly.react(plot, wanted ? [...traces, found] : traces, plot.layout, config);
    const names = named.slice(0, 5).map((hit) => shown(hit.label)).join(", ");
    said.textContent = !wanted ? "" : !hits.length ? "not on this figure" : `${hits.length} found: ${names}`;
  }

  function show(plot) {
    const found = plot.data && plot.data.find((trace) => trace.meta === "found");
    if (!found || !found.x.length) return;
    const ranges = {};
    for (const axis of ["x", "y"]) {
      const values = found[axis].filter((_, i) => found.text[i]), all = plot.calcdata.flat().map((point) => point[axis]);
      const highest = all.reduce((a, b) => Math.max(a, b)), lowest = all.reduce((a, b) => Math.min(a, b));
      const room = (highest - lowest) / 12;
      ranges[`${axis}axis.range`] = [Math.min(...values) - room, Math.max(...values) + room];
    }
    Plotly.relayout(plot, ranges);
  }

  // --- one part of the page alone: `#only=` with the beginnings of the headings that are wanted, a bar between -----
  const wanted = new URLSearchParams(location.hash.slice(1)).get("only");
  if (wanted) {
    document.documentElement.classList.add("part");
    for (const block of document.querySelectorAll("main > *, main > .audios > .card")) {
      const headings = [...block.querySelectorAll("h3, h4")].map((heading) => heading.textContent);
      block.hidden = !wanted.split("|").some((start) => headings.some((heading) => heading.startsWith(start)));
    }
  }

  // --- inside another page: no bar of its own, and as tall as what it holds -----------------------------------
  if (window.parent !== window) {
    document.documentElement.classList.add("framed");
    const tell = () => window.parent.postMessage({ wspyHeight: document.body.scrollHeight }, "*");
    new ResizeObserver(tell).observe(document.body);
    window.addEventListener("load", tell);
  }

  // --- tables: a click on a heading sorts, another turns the order round ------------------------------------
  for (const table of document.querySelectorAll(".table table")) {
    table.tHead.addEventListener("click", (event) => {
      const head = event.target.closest("th");
      if (!head) return;
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0], column = head.cellIndex, sign = down ? -1 : 1;
      const value = (row) => {
        const cell = row.cells[column];
        return "v" in cell.dataset ? Number(cell.dataset.v) : cell.textContent;
      };
      const rows = [...body.rows].map((row) => [value(row), row]);
      rows.sort(([a], [b]) => {
        if (a === "" || b === "") return (a === "") - (b === ""); // empty cells stay last
        if (typeof a === "number" && typeof b === "number") return sign * (a - b);
        return sign * String(a).localeCompare(String(b), undefined, { numeric: true });
      });
      body.append(...rows.map(([, row]) => row));
    });
  }
})();
