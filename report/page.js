"use strict";
// Clicking a number opens the records that made it. Text is only ever set as text.
(() => {
  const unpacked = (async () => {
    if (!("DecompressionStream" in window)) return [];
    const bytes = Uint8Array.from(atob(document.getElementById("data").textContent), (each) => each.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  })();
  const panel = document.getElementById("panel");
  const body = document.getElementById("panel-body");

  const make = (name, text, children = []) => {
    const node = document.createElement(name);
    if (text !== "") node.textContent = text;
    node.append(...children);
    return node;
  };
  const shown = (value) => {
    if (value === null || value === undefined) return "";
    if (typeof value === "number") return String(Number(value.toPrecision(6)));
    return typeof value === "object" ? JSON.stringify(value) : String(value);
  };
  const pairs = (entries) => {
    const list = make("dl", "");
    for (const [name, value] of entries) {
      if (shown(value) !== "") list.append(make("dt", name), make("dd", shown(value)));
    }
    return list;
  };
  const group = (title, object) => {
    const entries = Object.entries(object || {});
    if (!entries.length) return [];
    return [make("h4", title), pairs(entries)];
  };

  const record = (paper, entry) => {
    const about = [
      ["record", entry.path], ["status", entry.status], ["reason", entry.reason],
      ["seed", entry.seed ? `${entry.seed.purpose} ${entry.seed.index} (root ${entry.seed.root})` : ""], ["data fingerprint", entry.data],
      ["started", entry.started], ["wall seconds", entry.seconds], ["CPU seconds", entry.cpu_seconds],
      ["peak memory, MB", entry.peak_memory_mb], ["device", entry.device], ["threads", entry.threads],
      ["commit", entry.commit], ["attempts", entry.attempts], ["warnings", (entry.warnings || []).join("; ")],
    ];
    const pool = (name) => paper.pool[entry[name]];
    return [
      pairs(about), ...group("Settings", pool("params")), ...group("Clocks, seconds", entry.clocks), ...group("Notes", entry.notes),
      ...group("Versions", pool("versions")), ...group("Machine", pool("machine")), ...group("Starts from", pool("parents")),
      ...group("Code, hash of each module", pool("code")),
    ];
  };

  const open = async (key) => {
    const papers = await unpacked;
    const [place, index] = key.split(".").map(Number);
    const paper = papers[place];
    const cell = paper.cells[index];
    const unit = cell.unit ? ` ${cell.unit}` : "";
    const title = make("h2", `${cell.row}: ${cell.column}`);
    title.id = "panel-title";
    title.tabIndex = -1;
    title.dir = "auto";
    const scope = make("span", cell.scope);
    scope.className = `scope s-${cell.scope.replaceAll(" ", "-").replaceAll("'", "")}`;
    const facts = pairs([
      ["mean", cell.mean === null ? "" : `${cell.mean.toFixed(cell.decimals)}${unit}`],
      ["95 % interval", cell.ci ? cell.ci.map((end) => end.toFixed(cell.decimals)).join(" to ") : "needs two seeds"],
      ["users", cell.users], ["positives", cell.positives],
      ["against the reference row", cell.mark], ["p (Holm)", cell.p], ["differs from the paper", cell.differs],
    ]);
    const seeds = cell.values.map((value, seed) => {
      const number = cell.records[seed];
      const summary = make("summary", `${cell.each} ${seed}: ${value === null ? "no value" : shown(value) + unit}`);
      const entry = make("details", "", [summary]);
      const fill = () => {
        if (entry.childElementCount === 1) {
          entry.append(...(number >= 0 ? record(paper, paper.records[number]) : [make("p", "There is no record here yet.")]));
        }
      };
      entry.addEventListener("toggle", fill);
      if (seed === 0) { fill(); entry.open = true; }
      return entry;
    });
    const command = paper.pool[cell.command];
    const again = command ? [make("h3", "Make it again"), make("p", "", [make("code", command)])] : [];
    body.replaceChildren(title, make("p", "", [scope, ` ${cell.task}`]), facts, make("h3", cell.each === "seed" ? "Seed by seed" : "Repeat by repeat"), ...seeds, ...again);
    panel.showModal();
    title.focus();
    panel.scrollTop = 0;
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-cell]");
    if (link && link.dataset.cell && "DecompressionStream" in window) {
      event.preventDefault();
      open(link.dataset.cell);
    } else if (event.target === panel || event.target.id === "panel-close") {
      panel.close();
    }
  });

  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") target.open = true;
  };
  window.addEventListener("hashchange", reveal);
  reveal();

  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("main details:not([open])")];
    for (const each of opened) each.open = true;
  });
  window.addEventListener("afterprint", () => { for (const each of opened) each.open = false; });
})();
