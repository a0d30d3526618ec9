/* Trying a model: rows from fields or JSON, a call from this browser with the reader's own key, and
   the answer drawn. The key is kept in this tab (sessionStorage) and shown as its prefix alone. */
"use strict";

(() => {
  const KEY = "tollway.key";
  const MAX_ROWS = 20;
  const PREFIX = 14;
  const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
  const SVG = "http://www.w3.org/2000/svg";
  const MAX_BARS = 12;
  const form = document.getElementById("try-form");
  if (!form) return;
  const data = JSON.parse(document.getElementById("try-data").textContent);
  const place = (id) => document.getElementById(id);
  const answer = place("try-answer");
  const rows = place("try-rows");
  const keyField = place("try-key");
  const jsonField = place("try-json");
  let counted = 0;
  let asJson = !rows;

  const make = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  };
  const figure = (value) => {
    if (typeof value !== "number") return value === null ? "missing" : String(value);
    return new Intl.NumberFormat("en", { maximumSignificantDigits: 6 }).format(value);
  };
  const brief = (value) => new Intl.NumberFormat("en", { maximumSignificantDigits: 3 }).format(value);
  const share = (value) => `${(value * 100).toFixed(value < 0.001 && value > 0 ? 3 : 1)} %`;
  const masked = (key) => (key ? `${key.slice(0, Math.min(PREFIX, key.length / 2))}…` : "");

  /* ---- the key ---- */

  const remembered = () => {
    try { return sessionStorage.getItem(KEY) ?? ""; } catch { return ""; }
  };
  const remember = (key) => {
    try { sessionStorage.setItem(KEY, key); } catch { /* The browser keeps nothing: type it again. */ }
  };
  keyField.value = remembered();
  keyField.addEventListener("change", () => remember(keyField.value.trim()));

  /* ---- rows ---- */

  const columns = new Map(data.columns.map((column) => [column.name, column]));

  const addRow = (values) => {
    const row = place("try-row").content.firstElementChild.cloneNode(true);
    counted += 1;
    [...row.querySelectorAll("[data-column]")].forEach((field, index) => {
      const control = field.querySelector("input, select");
      const id = `try-${counted}-${index}`;
      control.id = id;
      field.querySelector("label").htmlFor = id;
      const hint = field.querySelector(".hint");
      if (hint) { hint.id = `${id}-hint`; control.setAttribute("aria-describedby", hint.id); }
      if ("offers" in control.dataset) {
        const list = [...form.querySelectorAll("datalist")].find((one) => one.dataset.optionsOf === field.dataset.column);
        if (list) { list.id ||= `try-offers-${index}`; control.setAttribute("list", list.id); }
      }
      if (values && field.dataset.column in values) {
        const value = values[field.dataset.column];
        control.value = value === null ? "" : String(value);
      }
    });
    rows.append(row);
    number();
    return row;
  };
  const number = () => {
    const all = [...rows.children];
    all.forEach((row, index) => {
      row.querySelector("[data-row-number]").textContent = String(index + 1);
      row.querySelector("[data-remove-row]").hidden = all.length === 1;
      row.classList.toggle("alone", all.length === 1);
    });
    place("try-add").disabled = all.length >= MAX_ROWS;
  };

  /* A value as JSON text, as it was typed: a number keeps all its digits, and what is none goes as
     text, so that the API says what is wrong with it. */
  const literal = (text, kind) => {
    const trimmed = text.trim();
    if (trimmed === "") return kind === "string" ? JSON.stringify(text) : "null";
    if (kind === "string") return JSON.stringify(text);
    if (kind === "boolean") return trimmed === "true" || trimmed === "false" ? trimmed : JSON.stringify(text);
    return NUMBER.test(trimmed) ? trimmed : JSON.stringify(trimmed);
  };
  const rowText = (row) =>
    `{${[...row.querySelectorAll("[data-column]")].map((field) => {
      const column = columns.get(field.dataset.column);
      const control = field.querySelector("input, select");
      const missing = control.tagName === "SELECT" && control.value === "";
      return `${JSON.stringify(column.name)}: ${missing ? "null" : literal(control.value, column.kind)}`;
    }).join(", ")}}`;
  const body = () =>
    asJson ? jsonField.value : `{"instances": [${[...rows.children].map(rowText).join(", ")}]}`;

  if (rows) {
    addRow();
    place("try-add").addEventListener("click", () => {
      const row = addRow();
      row.querySelector("input, select").focus();
    });
    rows.addEventListener("click", (event) => {
      const button = event.target.closest("[data-remove-row]");
      if (!button) return;
      button.closest("fieldset").remove();
      number();
      rows.querySelector("input, select").focus();
    });
    place("try-mode").addEventListener("click", () => {
      if (!asJson) {
        const text = body();
        try { jsonField.value = JSON.stringify(JSON.parse(text), null, 2); } catch { jsonField.value = text; }
      } else {
        let given = null;
        try { given = JSON.parse(jsonField.value).instances; } catch { given = null; }
        const fits = Array.isArray(given) && given.length > 0 && given.length <= MAX_ROWS
          && given.every((row) => row !== null && typeof row === "object" && !Array.isArray(row));
        if (!fits) { wrong(jsonField, `Fields show "instances" of 1 to ${MAX_ROWS} rows that are objects.`); return; }
        rows.replaceChildren();
        given.forEach((row) => addRow(row));
      }
      asJson = !asJson;
      place("try-json-field").hidden = !asJson;
      rows.hidden = asJson;
      place("try-add").hidden = asJson;
      const note = place("try-note");
      if (note) note.hidden = asJson;
      const mode = place("try-mode");
      mode.setAttribute("aria-pressed", String(asJson));
      mode.textContent = asJson ? "As fields" : "As JSON";
    });
  }

  /* ---- what is wrong, beside its field ---- */

  const clear = () => {
    form.querySelectorAll(".error").forEach((one) => one.remove());
    form.querySelectorAll("[aria-invalid]").forEach((one) => one.removeAttribute("aria-invalid"));
  };
  const wrong = (control, message) => {
    const field = control.closest(".field");
    field.querySelector(":scope > .error")?.remove();
    const id = `${control.id}-error`;
    field.append(make("span", { class: "error", id, role: "alert" }, message));
    control.setAttribute("aria-invalid", "true");
    const hint = field.querySelector(":scope > .hint");
    control.setAttribute("aria-describedby", [id, hint?.id].filter(Boolean).join(" "));
  };
  /* As Python writes a text in an error: between quotes, with its own escapes. */
  const plain = (quoted) => quoted.slice(1, -1).replace(/\\(x[0-9a-f]{2}|u[0-9a-f]{4}|.)/g, (_, code) => {
    if (/^[xu][0-9a-f]/.test(code)) return String.fromCharCode(parseInt(code.slice(1), 16));
    return { n: "\n", t: "\t", r: "\r" }[code] ?? code;
  });
  const TEXT = `('(?:[^'\\\\]|\\\\.)*'|"(?:[^"\\\\]|\\\\.)*")`;
  const places = (message) => {
    const found = [];
    const contract = new RegExp(`row (\\d+), (?:column|input) ${TEXT}: (.*?)(?=; row \\d+, | \\(and \\d+ more|$)`, "g");
    for (const [, row, name, words] of message.matchAll(contract)) found.push([Number(row), plain(name), words]);
    const typed = new RegExp(`instances\\[(\\d+)\\]:? (?:column|has an unknown column) ${TEXT}:? ?(.*)$`);
    const match = found.length ? null : message.match(typed);
    if (match) found.push([Number(match[1]), plain(match[2]), match[3] || "is not known to the model"]);
    return found;
  };
  const point = (message) => {
    if (asJson) { wrong(jsonField, message); jsonField.focus(); return; }
    let first = null;
    for (const [index, name, words] of places(message)) {
      const row = rows.children[index];
      const field = row && [...row.querySelectorAll("[data-column]")].find((one) => one.dataset.column === name);
      const control = field?.querySelector("input, select");
      if (control) { wrong(control, words); first ??= control; }
    }
    first?.focus();
  };

  /* ---- what was sent and answered ---- */

  const pretty = (text) => {
    try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
  };
  const code = (id, label, text) =>
    make("div", { class: "code" },
      make("header", {}, make("span", {}, label), make("button", { class: "button quiet small", type: "button", "data-copy": id }, "Copy")),
      make("pre", { tabindex: "0" }, make("code", { id }, text)));
  const exchanged = (calls) => {
    const box = make("details", {}, make("summary", {}, "The request and the answer, as they were sent"));
    calls.forEach((call, index) => {
      const sent = [`POST ${call.path} HTTP/1.1`, `Host: ${location.host}`, "Content-Type: application/json",
        `X-API-Key: ${masked(call.key)}`, "", pretty(call.body)].join("\n");
      const got = call.response
        ? [`HTTP/1.1 ${call.response.status} ${call.response.statusText}`.trim(),
          ...[...call.response.headers].map(([name, value]) => `${name}: ${value}`), "", pretty(call.text)].join("\n")
        : "No answer came.";
      box.append(make("div", { class: "stack-s exchanged" }, code(`try-sent-${index}`, "Request", sent), code(`try-got-${index}`, "Answer", got)));
    });
    return box;
  };

  /* ---- the answer drawn ---- */

  const meter = (label, value, most) => make("div", { class: "measure" },
    make("span", {}, label), make("b", {}, share(value)),
    make("meter", { min: 0, max: 1, value, "aria-label": `${label}: ${share(value)}` }));
  const probabilities = (labels, values) => {
    const ranked = values.map((value, index) => [labels[index] ?? `class ${index + 1}`, value])
      .sort((one, other) => other[1] - one[1]);
    return make("div", { class: "stack-s" },
      ...ranked.slice(0, MAX_BARS).map(([label, value]) => meter(label, value)),
      ranked.length > MAX_BARS ? make("p", { class: "small soft" }, `and ${ranked.length - MAX_BARS} more classes`) : null);
  };
  const isShares = (value) => Array.isArray(value) && value.length === data.labels.length && value.length > 1
    && value.every((one) => typeof one === "number" && one >= 0 && one <= 1)
    && Math.abs(value.reduce((sum, one) => sum + one, 0) - 1) < 0.02;
  /* The label of a class that is answered as its number; of a model's only output `output` is "". */
  const labelled = (output, found) => {
    const counts = output ? data.classes.includes(output) : data.classes.length === 1;
    return counts && Number.isInteger(found) && !data.labels.includes(String(found)) ? data.labels[found] : undefined;
  };
  const value = (name, found, output = name) => {
    if (isShares(found)) return probabilities(data.labels, found);
    const label = labelled(output, found);
    if (label !== undefined) {
      return make("p", { class: "big-answer" }, make("bdi", {}, label), make("span", { class: "small soft" }, ` ${name || "class"} ${found}`));
    }
    if (typeof found === "number" || typeof found === "string" || typeof found === "boolean" || found === null) {
      return make("p", { class: "big-answer" }, make("bdi", {}, figure(found)), name ? make("span", { class: "small soft" }, ` ${name}`) : null);
    }
    if (Array.isArray(found) && found.length <= 12 && found.every((one) => typeof one === "number")) {
      return make("p", { class: "mono" }, found.map((one) => labelled(output, one) ?? figure(one)).join("  "));
    }
    return make("pre", { class: "plain", tabindex: "0" }, JSON.stringify(found, null, 1).slice(0, 4000));
  };
  const prediction = (found) => {
    if (found === null || typeof found !== "object" || Array.isArray(found)) return value("", found);
    /* Of a classifier: the class large, its probabilities as bars, what else there is behind. */
    const entries = Object.entries(found);
    const first = entries.filter(([, one]) => one === null || typeof one !== "object");
    const rest = entries.filter(([, one]) => one !== null && typeof one === "object");
    return make("div", { class: "stack-s" }, ...[...first, ...rest].map(([name, one]) =>
      make("div", {}, value(entries.length > 1 && !isShares(one) ? name : "", one))));
  };
  const drawn = (tag, attributes, ...children) => {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };
  const contributions = (base, total, parts) => {
    const ranked = Object.entries(parts).sort((one, other) => Math.abs(other[1]) - Math.abs(one[1]));
    const shown = ranked.slice(0, MAX_BARS);
    const others = ranked.slice(MAX_BARS).reduce((sum, [, one]) => sum + one, 0);
    if (ranked.length > MAX_BARS) shown.push([`${ranked.length - MAX_BARS} others`, others]);
    const most = Math.max(...shown.map(([, one]) => Math.abs(one)), 1e-300);
    const list = make("dl", { class: "contributions" });
    for (const [name, one] of shown) {
      const width = (Math.abs(one) / most) * 49;
      const bar = drawn("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
        drawn("rect", { x: 49.8, y: 0, width: 0.4, height: 10, class: "fill-line" }),
        drawn("rect", { x: one < 0 ? 50 - width : 50, y: 1, width: Math.max(width, 0.2), height: 8, class: one < 0 ? "fill-2" : "fill-1" }));
      list.append(make("div", {}, make("dt", {}, name), make("dd", { class: "bar" }, bar), make("dd", { class: "number" }, (one > 0 ? "+" : "") + brief(one))));
    }
    return make("div", { class: "stack-s" },
      make("p", { class: "small soft" }, `Begins at ${brief(base)}, the answer to typical rows, and adds up to ${figure(total)}.`), list);
  };
  const explanation = (found, whole) => {
    if (!found) return null;
    const classes = typeof found.prediction === "object" && found.prediction !== null;
    let inner;
    if (!classes) inner = contributions(found.base_value, found.prediction, found.contributions);
    else {
      const likely = Object.entries(found.prediction).sort((one, other) => other[1] - one[1])[0][0];
      inner = make("div", {}, make("p", { class: "small" }, "For the class ", make("b", {}, likely)),
        contributions(found.base_value[likely], found.prediction[likely], found.contributions[likely]));
    }
    const spaces = { probability: "in probability", log_odds: "in log odds", log_ratio: "in log ratios" };
    const kind = whole.method === "permutation" ? "an estimate" : "exact";
    return make("div", { class: "stack-s" }, make("h4", {}, "What each column contributed"), inner,
      make("p", { class: "small soft" }, [kind, spaces[whole.space]].filter(Boolean).join(", ")));
  };

  const limits = (headers) => {
    const policies = new Map([...(headers.get("ratelimit-policy") ?? "").matchAll(/"([^"]+)";q=(\d+)/g)].map(([, name, most]) => [name, Number(most)]));
    const found = [...(headers.get("ratelimit") ?? "").matchAll(/"([^"]+)";r=(\d+)/g)];
    if (!found.length) return null;
    return make("ul", { class: "limits small" }, ...found.map(([, name, left]) =>
      make("li", {}, `${name}: `, make("b", {}, Number(left).toLocaleString("en")),
        policies.has(name) ? ` of ${policies.get(name).toLocaleString("en")} left` : " left")));
  };
  const facts = (call) => {
    const headers = call.response.headers;
    const timing = Object.fromEntries([...(headers.get("server-timing") ?? "").matchAll(/(\w+);dur=([\d.]+)/g)].map(([, name, ms]) => [name, Number(ms)]));
    const inside = Object.values(timing).reduce((sum, one) => sum + one, 0);
    const variant = headers.get("tollway-variant");
    const version = headers.get("tollway-version");
    return make("ul", { class: "answer-facts small" },
      version ? make("li", {}, "Version ", make("b", {}, version), variant ? ` (${variant})` : "") : null,
      make("li", {}, make("b", {}, `${call.ms.toFixed(call.ms < 10 ? 1 : 0)} ms`), " from here",
        inside ? `, ${inside.toFixed(2)} ms of them on the server` : ""),
      headers.get("tollway-contract") === "violated" ? make("li", { class: "warn" }, "outside of the data contract") : null);
  };

  const notice = (tone, title, ...text) => make("div", { class: `notice ${tone}`, role: tone === "bad" ? "alert" : "status" }, make("strong", {}, title), " ", ...text);
  const link = (to, label) => make("a", { href: to }, label);
  const subscribe = `/portal/subscribe?model=${encodeURIComponent(data.model)}`;
  const refusal = (call) => {
    const { response } = call;
    let message = call.text;
    try { message = JSON.parse(call.text).error ?? call.text; } catch { /* It is no JSON: shown as it is. */ }
    const wait = Number(response.headers.get("retry-after"));
    const again = () => {
      const at = new Date(Date.now() + wait * 1000).toLocaleTimeString();
      return wait > 3600 ? `Come back ${new Date(Date.now() + wait * 1000).toLocaleString()}.` : `Come back in ${wait} ${wait === 1 ? "second" : "seconds"} (at ${at}).`;
    };
    switch (response.status) {
      case 401:
        wrong(keyField, "The server does not know this key. Copy it whole; a revoked one does not work any more.");
        keyField.focus();
        return notice("bad", "The key is not accepted.", message);
      case 403:
        return notice("bad", "The key may not call this model.", message, " ", link(subscribe, "Subscribe its application to the model"), ".");
      case 404:
        return notice("bad", "Not there.", message);
      case 429:
        return notice("warn", "A limit is used up.", message, " ", wait ? again() : "");
      case 400: case 422:
        point(message);
        return notice("bad", "The model does not take this.", message);
      default:
        return notice(response.status >= 500 ? "warn" : "bad", response.status >= 500 ? "It cannot answer now." : "Refused.", message, " ", wait ? again() : "");
    }
  };

  /* ---- the call ---- */

  const call = async (verb, text, key) => {
    const path = data.byRow ? `${data.path}:${verb}` : `${data.path}/infer`;
    const begun = performance.now();
    const made = { path, key, body: text, response: null, text: "", ms: 0 };
    try {
      made.response = await fetch(path, {
        method: "POST", body: text, credentials: "omit", cache: "no-store", redirect: "error",
        headers: { "content-type": "application/json", "x-api-key": key },
      });
      made.text = await made.response.text();
    } catch { made.response = null; }
    made.ms = performance.now() - begun;
    return made;
  };
  const show = (predicted, explained) => {
    const calls = [predicted, explained].filter(Boolean);
    if (!predicted.response) {
      answer.replaceChildren(notice("bad", "No answer came.", "The server could not be reached. Look at your network, and try again."), exchanged(calls));
      return;
    }
    if (!predicted.response.ok) {
      answer.replaceChildren(refusal(predicted), ...[limits(predicted.response.headers), exchanged(calls)].filter(Boolean));
      return;
    }
    const found = JSON.parse(predicted.text);
    const whole = explained?.response?.ok ? JSON.parse(explained.text) : null;
    const items = data.byRow ? found.predictions : null;
    const cards = items
      ? items.map((item, index) => make("div", { class: "answer-card" },
        items.length > 1 ? make("h4", {}, `Row ${index + 1}`) : null, prediction(item), explanation(whole?.explanations[index], whole)))
      : (found.outputs ?? []).map((output) => make("div", { class: "answer-card" }, make("h4", { class: "mono" }, output.name),
        value("", output.data.length === 1 ? output.data[0] : output.data, output.name)));
    const refusedToExplain = explained && !whole
      ? notice("warn", "It was not explained.", explained.response ? (() => { try { return JSON.parse(explained.text).error; } catch { return explained.text; } })() : "No answer came.")
      : null;
    answer.replaceChildren(...[...cards, refusedToExplain, facts(predicted), limits((explained ?? predicted).response?.headers ?? predicted.response.headers), exchanged(calls)].filter(Boolean));
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clear();
    const verb = event.submitter?.dataset.verb ?? "predict";
    const key = keyField.value.trim();
    if (!key) {
      wrong(keyField, "Type your key, or get one first.");
      keyField.focus();
      answer.replaceChildren(notice("warn", "A key is needed.", link(subscribe, "Get one"), ": it takes a minute."));
      return;
    }
    if (!/^[\x21-\x7e]+$/.test(key)) { wrong(keyField, "A key has no spaces or accents: copy it whole."); keyField.focus(); return; }
    const text = body();
    if (asJson) {
      try { JSON.parse(text); } catch (error) { wrong(jsonField, `This is not JSON: ${error.message}`); jsonField.focus(); return; }
    }
    remember(key);
    const focused = document.activeElement;
    form.setAttribute("aria-busy", "true");
    form.querySelectorAll('button[type="submit"]').forEach((one) => { one.disabled = true; });
    try {
      const predicted = await call("predict", text, key);
      const explained = verb === "explain" && predicted.response?.ok ? await call("explain", text, key) : null;
      show(predicted, explained);
      if (matchMedia("(max-width: 60rem)").matches) answer.scrollIntoView({ block: "nearest" });
    } finally {
      form.removeAttribute("aria-busy");
      form.querySelectorAll('button[type="submit"]').forEach((one) => { one.disabled = false; });
      // A button that is disabled loses the focus, and the keyboard would begin at the page's top.
      if (document.activeElement === document.body) focused?.focus();
    }
  });
})();
