"use strict";
// Figures, players and the sentence to cut, on pages of the manual. Nothing is fetched but files of the site itself.
(() => {
  const own = document.currentScript;
  const style = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();

  // --- plotly: fetched packed, and only once a figure comes near ---------------------------------------------------
  let loading = null;
  function plotly() {
    loading ??= new Promise((resolve, reject) => {
      const packed = document.createElement("script");
      packed.src = own.dataset.plotly;
      packed.onload = () => unpack().then(resolve, reject);
      packed.onerror = () => reject(new Error(own.dataset.plotly + " is missing beside this page"));
      document.head.append(packed);
    });
    return loading;
  }

  async function unpack() {
    if (!window.DecompressionStream) throw new Error("this browser is too old (2023 or later is needed)");
    const letters = window.packedPlotly, bytes = new Uint8Array((letters.length * 7) >> 3);
    delete window.packedPlotly;
    for (let at = 0, n = 0, held = 0, bits = 0; n < bytes.length; at++) { // seven bits to a letter
      held = ((held << 7) | (letters.charCodeAt(at) & 127)) & 0x7fff;
      bits += 7;
      if (bits >= 8) {
        bits -= 8;
        bytes[n++] = held >> bits;
      }
    }
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  }

  function template() {
    const ink = style("--md-typeset-color"), grid = style("--md-default-fg-color--lightest"), paper = style("--md-default-bg-color");
    const axis = { color: ink, gridcolor: grid, zerolinecolor: grid, linecolor: grid };
    return {
      layout: {
        font: { color: ink, family: "inherit" }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", xaxis: axis, yaxis: axis,
        hoverlabel: { bgcolor: paper, bordercolor: ink, font: { color: ink } }, legend: { font: { color: ink } },
        modebar: { bgcolor: "rgba(0,0,0,0)", color: ink, activecolor: ink },
      },
    };
  }

  const touch = matchMedia("(pointer: coarse)").matches;
  const config = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "resetScale2d"]], displayModeBar: touch ? false : "hover" };
  const drawn = [];

  async function draw(plot) {
    try {
      await plotly();
      const spec = JSON.parse(plot.parentElement.querySelector("script.wf-spec").textContent);
      const layout = { ...spec.layout, template: template() };
      if (touch) layout.dragmode = false; // a finger scrolls the page
      await Plotly.newPlot(plot, spec.data, layout, config);
      drawn.push(plot);
      plot.dataset.drawn = "yes";
    } catch (error) {
      const note = document.createElement("p");
      note.textContent = "The figure cannot be drawn: " + error.message + ".";
      plot.replaceChildren(note);
    }
  }

  let queue = Promise.resolve();
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watcher.unobserve(entry.target);
      queue = queue.then(() => draw(entry.target)).then(() => new Promise((next) => setTimeout(next)));
    }
  }, { rootMargin: "500px 0px" });
  for (const plot of document.querySelectorAll(".wf-plot")) watcher.observe(plot);

  new MutationObserver(() => {
    for (const plot of drawn) Plotly.relayout(plot, { template: template() });
  }).observe(document.body, { attributes: true, attributeFilter: ["data-md-color-scheme"] });

  // --- sounds: one at a time; a button plays and stops -------------------------------------------------------------
  const sound = new Audio();
  sound.preload = "none";
  let playing = null;

  function stop() {
    sound.pause();
    if (playing) {
      playing.removeAttribute("data-playing");
      playing.setAttribute("aria-pressed", "false");
    }
    playing = null;
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a.wf-play");
    if (!link) return;
    event.preventDefault();
    const same = link === playing;
    stop();
    if (same) return;
    for (const other of document.querySelectorAll("audio")) other.pause();
    playing = link;
    link.dataset.playing = "yes";
    link.setAttribute("aria-pressed", "true");
    sound.src = link.href;
    sound.play().catch(stop);
  });
  sound.addEventListener("ended", stop);
  document.addEventListener("play", (event) => {
    if (event.target === sound) return;
    stop();
    for (const other of document.querySelectorAll("audio")) if (other !== event.target) other.pause();
  }, true);

  // --- the sentence: press a word, read what is left ---------------------------------------------------------------
  for (const box of document.querySelectorAll(".wf-cut")) {
    const data = JSON.parse(box.querySelector("script").textContent);
    const words = box.querySelector(".wf-cut-words"), left = box.querySelector(".wf-cut-left"), said = box.querySelector(".wf-cut-said");
    const models = box.querySelector(".wf-cut-models");
    let model = Object.keys(data)[0];

    function show(at) {
      for (const [n, button] of [...words.children].entries()) button.setAttribute("aria-pressed", String(n === at));
      const cut = data[model].cuts[at];
      left.replaceChildren(...cut.pairs.flatMap(([kind, before, after]) => {
        const piece = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
        const parts = kind === "kept" ? [piece("span", after)] : [before && piece("del", before), after && piece("ins", after)].filter(Boolean);
        return parts.flatMap((part) => [part, " "]);
      }));
      said.textContent = cut.said;
    }

    function fill() {
      words.replaceChildren(...data[model].words.map((word, at) => {
        const button = Object.assign(document.createElement("button"), { type: "button", textContent: word });
        button.addEventListener("click", () => show(at));
        return button;
      }));
      for (const button of models.children) button.setAttribute("aria-pressed", String(button.textContent === model));
      show(data[model].first);
    }
    for (const name of Object.keys(data)) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
      button.addEventListener("click", () => { model = name; fill(); });
      models.append(button);
    }
    fill();
  }
})();
