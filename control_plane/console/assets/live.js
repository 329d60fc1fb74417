// Follow one table: rows as they arrive, on top, and the accounting. What comes from the server is text, never markup.
"use strict";
const table = document.getElementById("rows");
const state = document.getElementById("live");
const accounting = document.getElementById("accounting");
const shown = Number(table.dataset.shown);
const columns = Array.from(table.tHead.rows[0].cells, (cell) => cell.textContent);

// JSON.parse rounds integers beyond 2^53, and a rounded value would be a wrong one: they become marked texts instead.
const MARK = "\u0001";
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

function parseExactly(text) {
  return JSON.parse(text.replace(TOKEN, (token) => (/^-?\d{16,}$/.test(token) ? `"\\u0001${token}"` : token)));
}

function asText(value) {
  if (typeof value === "string") return value.startsWith(MARK) ? value.slice(1) : value;
  return JSON.stringify(value).replace(/"\\u0001(-?\d+)"/g, "$1");
}

function asTime(nanoseconds) {
  const whole = BigInt(nanoseconds);
  const seconds = new Date(Number(whole / 1000000000n) * 1000).toISOString().slice(0, 19).replace("T", " ");
  return `${seconds}.${String(whole % 1000000000n).padStart(9, "0")}`;
}

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
    } else if (name === "time_") {
      cell.title = asText(row[name]);
      cell.textContent = asTime(asText(row[name]));
    } else if (name in row) {
      cell.textContent = asText(row[name]);
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
stream.addEventListener("rows", (event) => parseExactly(event.data).rows.forEach(addRow));
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
