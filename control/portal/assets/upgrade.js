/* Replays captured requests of an application on another version, in the reader's browser and with
   their own key (kept by sessionStorage for this tab alone), and says what changed. Bodies go as
   they were; an answer that differs in its last bits alone is no other one. */
"use strict";

(() => {
  const PLACE = "tollway.key";
  const LAST_BITS = 1e-5;
  const SHOWN = 20;
  const LENGTH = "Inference-Header-Content-Length";
  const box = document.getElementById("upgrade");
  const form = document.getElementById("replay");
  if (!box || !form) return;
  const field = document.getElementById("replay-key");
  const place = document.getElementById("replayed");
  field.value = sessionStorage.getItem(PLACE) ?? "";

  const create = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };
  const tell = (text, tone = "") =>
    place.replaceChildren(create("div", { class: `notice ${tone}`, ...(tone === "bad" ? { role: "alert" } : {}) }, text));
  const bytes = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

  /* ---- answers as {output: [values]} ---- */

  const READERS = {
    FP64: [8, (view, at) => view.getFloat64(at, true)], FP32: [4, (view, at) => view.getFloat32(at, true)],
    INT64: [8, (view, at) => Number(view.getBigInt64(at, true))], UINT64: [8, (view, at) => Number(view.getBigUint64(at, true))],
    INT32: [4, (view, at) => view.getInt32(at, true)], UINT32: [4, (view, at) => view.getUint32(at, true)],
    INT16: [2, (view, at) => view.getInt16(at, true)], UINT16: [2, (view, at) => view.getUint16(at, true)],
    INT8: [1, (view, at) => view.getInt8(at)], UINT8: [1, (view, at) => view.getUint8(at)],
    BOOL: [1, (view, at) => view.getUint8(at) !== 0],
  };
  const tensor = (datatype, part) => {
    const view = new DataView(part.buffer, part.byteOffset, part.byteLength);
    const values = [];
    if (datatype === "BYTES") {
      for (let at = 0; at + 4 <= part.length;) {
        const size = view.getUint32(at, true);
        values.push(new TextDecoder().decode(part.subarray(at + 4, at + 4 + size)));
        at += 4 + size;
      }
      return values;
    }
    const [size, read] = READERS[datatype] ?? [0, null];
    if (!read) throw new Error(`outputs of type ${datatype} cannot be compared here`);
    for (let at = 0; at + size <= part.length; at += size) values.push(read(view, at));
    return values;
  };
  const walk = (found, name, value) => {
    if (Array.isArray(value)) value.forEach((one) => walk(found, name, one));
    else if (value !== null && typeof value === "object") Object.entries(value).forEach(([key, one]) => walk(found, key, one));
    else (found[name] ??= []).push(value);
  };
  const outputs = (body, length, v1) => {
    const text = new TextDecoder().decode(length === null ? body : body.subarray(0, length));
    const document_ = JSON.parse(text);
    const found = {};
    if (v1) {
      for (const key of ["predictions", "outputs"]) if (key in document_) walk(found, key, document_[key]);
      return found;
    }
    let at = length ?? body.length;
    for (const output of document_.outputs ?? []) {
      const size = output.parameters?.binary_data_size;
      if (size === undefined) walk(found, output.name, output.data);
      else { found[output.name] = tensor(output.datatype, body.slice(at, at + size)); at += size; }
    }
    return found;
  };

  /* ---- comparison ---- */

  const compare = (before, after) => {
    const result = { different: false, flips: 0, largest: 0, first: [] };
    for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
      const [old, fresh] = [before[name] ?? [], after[name] ?? []];
      if (old.length !== fresh.length) {
        result.different = true;
        result.first.push(`${name}: ${old.length} values became ${fresh.length}`);
        continue;
      }
      old.forEach((value, index) => {
        const now = fresh[index];
        if (Object.is(value, now)) return;
        if (typeof value === "number" && typeof now === "number") {
          const apart = Math.abs(value - now);
          if (apart <= LAST_BITS * Math.max(Math.abs(value), Math.abs(now), 1e-300)) return;
          result.largest = Math.max(result.largest, apart);
        } else result.flips += 1;
        result.different = true;
        if (result.first.length < 3) result.first.push(`${name}: ${value} → ${now}`);
      });
    }
    return result;
  };

  /* ---- sending ---- */

  const replay = async (capture, key) => {
    const path = `${box.dataset.captured}${encodeURIComponent(capture.id)}.json`;
    const kept = await (await fetch(path)).json();
    const v1 = kept.path === "v1_predict";
    const model = encodeURIComponent(box.dataset.model);
    const to = encodeURIComponent(box.dataset.to);
    const address = v1 ? `/v1/models/${model}/versions/${to}:predict` : `/v2/models/${model}/versions/${to}/infer`;
    const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
    if (kept.request_header_length !== null) {
      headers["Content-Type"] = "application/octet-stream";
      headers[LENGTH] = String(kept.request_header_length);
    }
    const answer = await fetch(address, { method: "POST", headers, body: bytes(kept.request) });
    const body = new Uint8Array(await answer.arrayBuffer());
    if (!answer.ok) {
      let detail = answer.statusText;
      try { const said = JSON.parse(new TextDecoder().decode(body)); detail = said.detail ?? said.error ?? detail; } catch { /* no JSON: the status says it */ }
      throw new Error(`${answer.status}: ${detail}`);
    }
    const length = answer.headers.get(LENGTH);
    return compare(
      outputs(bytes(kept.answer), kept.answer_header_length, v1),
      outputs(body, length === null ? null : Number(length), v1),
    );
  };

  const figure = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
  const stat = (label, value, hint) =>
    create("div", { class: "stat" }, create("dt", {}, label), create("dd", { class: "value" }, value), create("dd", { class: "hint" }, hint));
  const show = (results, failed) => {
    const different = results.filter((one) => one.result.different);
    const largest = Math.max(0, ...results.map((one) => one.result.largest));
    const flips = results.reduce((sum, one) => sum + one.result.flips, 0);
    const parts = [create("dl", { class: "stats" },
      stat("Would differ", String(different.length), `of ${results.length} requests replayed`),
      stat("Largest difference", largest ? figure.format(largest) : "none", "of a number"),
      stat("Another class or text", String(flips), "values"),
    )];
    if (different.length) {
      const body = create("tbody", {}, ...different.slice(0, SHOWN).map(({ capture, result }) =>
        create("tr", result.flips ? { class: "changed" } : {},
          create("th", { scope: "row", class: "mono small" }, capture.id),
          create("td", { class: "number" }, String(capture.rows)),
          create("td", { class: "mono small" }, result.first.join("; ")))));
      const head = create("thead", {}, create("tr", {}, ...["Prediction", "Rows", "What changes"].map((text) => create("th", { scope: "col" }, text))));
      parts.push(create("div", { class: "table-box", role: "region", "aria-label": "Requests that would be answered otherwise", tabindex: "0" }, create("table", {}, head, body)));
    }
    if (failed.length) parts.push(create("div", { class: "notice bad", role: "alert" }, `${failed.length} could not be replayed: ${failed[0]}`));
    place.replaceChildren(...parts);
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const key = field.value.trim();
    if (!key) { tell("Paste a key of this application first.", "bad"); return; }
    sessionStorage.setItem(PLACE, key);
    const button = form.querySelector("button");
    button.disabled = true;
    const results = [];
    const failed = [];
    try {
      const found = await fetch(box.dataset.captures);
      if (!found.ok) throw new Error("the captured requests cannot be read");
      const captures = await found.json();
      for (const [index, capture] of captures.entries()) {
        tell(`Replaying ${index + 1} of ${captures.length} …`);
        try { results.push({ capture, result: await replay(capture, key) }); } catch (error) { failed.push(error.message); }
        if (failed.length >= 3 && !results.length) break;
      }
      show(results, failed);
    } catch (error) {
      tell(`The replay has stopped: ${error.message}.`, "bad");
    } finally {
      button.disabled = false;
    }
  });
})();
