/* The form of an evaluation: what the first line of a chosen file says of its columns, at once.

   <form data-upload … data-keep="upload" data-columns='["age", …]'> with <input name="target" list="columns">,
   <datalist id="columns"> and <p data-header role="status">. What counts is what the server says. */
"use strict";

(() => {
  const HEAD = 64 * 1024;

  /* The values of the first line of CSV (RFC 4180), whose separator is the most frequent one. */
  const header = (text) => {
    const line = text.replace(/^\uFEFF/, "").split(/\r?\n/, 1)[0];
    const count = (mark) => line.split(mark).length;
    const separator = [",", ";", "\t"].reduce((best, mark) => (count(mark) > count(best) ? mark : best));
    const names = [""];
    let quoted = false;
    for (const sign of line) {
      if (sign === '"') quoted = !quoted;
      else if (sign === separator && !quoted) names.push("");
      else names[names.length - 1] += sign;
    }
    return names.map((name) => name.trim()).filter(Boolean);
  };

  const looked = async (form, file) => {
    const names = header(await file.slice(0, HEAD).text());
    const taken = JSON.parse(form.dataset.columns);
    const options = names.map((name) => { const one = document.createElement("option"); one.value = name; return one; });
    form.querySelector("#columns").replaceChildren(...options);
    const others = names.filter((name) => !taken.includes(name));
    const { target } = form.elements;
    if (!target.value && others.length === 1) [target.value] = others;
    const byPlace = taken.every((name, at) => name === `x${at}`);
    const absent = byPlace ? [] : taken.filter((name) => !names.includes(name));
    const said = form.querySelector("[data-header]");
    said.classList.toggle("bad", absent.length > 0);
    said.textContent = absent.length
      ? `The model takes ${absent.slice(0, 3).join(", ")}${absent.length > 3 ? " and more" : ""}, which the file lacks.`
      : `Columns of the file: ${names.slice(0, 12).join(", ")}${names.length > 12 ? " …" : ""}`;
  };

  document.addEventListener("DOMContentLoaded", () => {
    for (const form of document.querySelectorAll("form[data-columns]")) {
      form.addEventListener("filechosen", (event) => { looked(form, event.detail); });
    }
  });
})();
