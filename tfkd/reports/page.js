"use strict";
// The table of texts. Whatever a text holds is put in as text, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const STEP = 50;
const state = { shown: STEP, column: null, isDown: false };

const said = (value) => {
  if (Array.isArray(value)) return value.join(", ");
  if (value === null) return "";
  return typeof value === "number" && !Number.isInteger(value) ? value.toFixed(3) : String(value);
};

const compared = (one, two) => {
  if (typeof one === "number" && typeof two === "number") return one - two;
  return said(one).localeCompare(said(two));
};

function chosen() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let places = data.filters[byId("filter").selectedIndex][1];
  if (words.length) {
    places = places.filter((place) => {
      const line = data.rows[place].map(said).join(" ").toLowerCase();
      return words.every((word) => line.includes(word));
    });
  }
  if (state.column !== null) {
    const turn = state.isDown ? -1 : 1;
    const column = state.column;
    places = [...places].sort((a, b) => turn * compared(data.rows[a][column], data.rows[b][column]));
  }
  return places;
}

function draw() {
  const places = chosen();
  const lines = places.slice(0, state.shown).map((place) => {
    const line = document.createElement("tr");
    data.rows[place].forEach((value, column) => {
      const cell = line.insertCell();
      cell.textContent = said(value);
      if (typeof value === "number") cell.className = "number";
      else if (data.names[column].endsWith("text")) cell.className = "text";
    });
    return line;
  });
  byId("rows").replaceChildren(...lines);
  byId("more").hidden = places.length <= state.shown;
  const count = places.length.toLocaleString("en");
  byId("count").textContent = `${count} texts, ${lines.length} of them shown.`;
  document.querySelectorAll("#titles th").forEach((title, column) => {
    const order = state.isDown ? "descending" : "ascending";
    title.setAttribute("aria-sort", column === state.column ? order : "none");
  });
}

function redraw() {
  state.shown = STEP;
  draw();
}

function save() {
  const quoted = (value) => `"${said(value).replaceAll('"', '""')}"`;
  const lines = [data.names, ...chosen().map((place) => data.rows[place])];
  const text = lines.map((line) => line.map(quoted).join(",")).join("\r\n") + "\r\n";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv" }));
  link.download = "texts.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

data.filters.forEach(([title, places]) => {
  byId("filter").add(new Option(`${title} (${places.length.toLocaleString("en")})`));
});
data.names.forEach((name, column) => {
  const title = document.createElement("th");
  title.scope = "col";
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = name;
  button.addEventListener("click", () => {
    state.isDown = state.column === column ? !state.isDown : false;
    state.column = column;
    redraw();
  });
  title.append(button);
  byId("titles").append(title);
});
byId("filter").addEventListener("change", () => {
  state.column = null;
  redraw();
});
byId("search").addEventListener("input", redraw);
byId("more").addEventListener("click", () => {
  state.shown += STEP;
  draw();
});
byId("export").addEventListener("click", save);
byId("browser").hidden = false;
draw();
