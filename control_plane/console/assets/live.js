// Follow one table: rows as they arrive, on top, and the accounting. What comes from the server is text, never markup.
"use strict";
const table = document.getElementById("rows");
const state = document.getElementById("live");
const accounting = document.getElementById("accounting");
const shown = Number(table.dataset.shown);
const columns = Array.from(table.tHead.rows[0].cells, (cell) => cell.textContent);

function addColumn(name) {
  columns.push(name);
  const cell = document.createElement("th");
  cell.scope = "col";
  cell.textContent = name;
  table.tHead.rows[0].append(cell);
}

function addRow(row) {
  for (const name of Object.keys(row)) {
    if (!name.startsWith("_") && !columns.includes(name)) addColumn(name);
  }
  const line = table.tBodies[0].insertRow(0);
  const absent = row._absent || {};
  for (const name of columns) {
    const cell = line.insertCell();
    if (name in absent) {
      cell.className = "absent";
      cell.title = `absent: ${absent[name]}`;
      cell.textContent = "absent";
    } else if (name in row) {
      cell.textContent = typeof row[name] === "string" ? row[name] : JSON.stringify(row[name]);
    }
  }
  while (table.tBodies[0].rows.length > shown) table.tBodies[0].deleteRow(-1);
}

function say(text, kind) {
  state.textContent = text;
  state.className = `state ${kind}`;
}

const stream = new EventSource(table.dataset.stream);
stream.addEventListener("open", () => say("live", "live"));
stream.addEventListener("error", () => say("not live", ""));
stream.addEventListener("rows", (event) => JSON.parse(event.data).rows.forEach(addRow));
stream.addEventListener("accounting", (event) => {
  const counted = JSON.parse(event.data);
  const lost = Object.values(counted.lost).reduce((sum, one) => sum + one, 0);
  accounting.textContent =
    `hits ${counted.hits} = delivered ${counted.delivered} + filtered ${counted.filtered} + sampled out ${counted.sampled_out}` +
    ` + throttled ${counted.throttled} + expired ${counted.expired} + lost ${lost}`;
});
stream.addEventListener("end", () => {
  stream.close();
  say("ended", "");
});
