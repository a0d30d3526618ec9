/* The rollout's page: its slider with who would move, steps that can be added, and whether what is
   shown is live. Without this script the page says the same, as it was when it was loaded. */
"use strict";

(() => {
  const NAMED = 12;
  const number = new Intl.NumberFormat("en");
  const create = (tag, ...children) => {
    const made = document.createElement(tag);
    made.append(...children);
    return made;
  };

  /* ---- live, or not ---- */

  const say = (words, live = false) => {
    for (const place of document.querySelectorAll("[data-live]")) {
      if (place.textContent === words) continue;
      const text = create("span", words);
      text.className = live ? "live" : "off";
      place.replaceChildren(text);
    }
  };
  const gone = () => say("Not live: connecting again …");
  document.addEventListener("htmx:sseOpen", () => say("Live", true));
  document.addEventListener("htmx:sseError", gone);
  document.addEventListener("signedout", () => say("Not live"));
  addEventListener("offline", gone);

  /* What somebody is at is not taken from under them: it is brought up to date when they leave it. */
  const kept = new Map();
  const busy = (part) => part.contains(document.activeElement) || part.querySelector("dialog[open]");
  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    const part = event.target;
    if (!busy(part)) { kept.delete(part); return; }
    event.preventDefault();
    kept.set(part, event.detail.data);
  });
  const catchUp = () => setTimeout(() => {
    for (const [part, text] of kept) {
      if (!part.isConnected) kept.delete(part);
      else if (!busy(part)) { kept.delete(part); htmx.swap(part, text, { swapStyle: "innerHTML" }); }
    }
  });
  document.addEventListener("focusout", catchUp);
  document.addEventListener("close", catchUp, true);

  /* ---- the share ---- */

  const names = (callers) => {
    const shown = callers.slice(0, NAMED).map((one) => one.application).join(", ");
    return callers.length > NAMED ? `${shown} and ${callers.length - NAMED} more` : shown;
  };

  const moves = (box, found, percent, version) => {
    const present = Number(document.querySelector("[data-canary]")?.dataset.canary ?? 0);
    const free = found.items.filter((one) => one.pinned === null);
    const has = (one, share) => one.canary_from <= share + 1e-9;
    const canary = free.filter((one) => has(one, percent));
    const coming = free.filter((one) => has(one, percent) && !has(one, present));
    const going = free.filter((one) => !has(one, percent) && has(one, present));
    const requests = canary.reduce((sum, one) => sum + one.requests, 0);
    const part = found.requests ? Math.round((100 * requests) / found.requests) : 0;
    const lines = [];
    if (!found.applications) {
      lines.push(`No application has called in the last ${found.days} days: a share moves nobody yet.`);
    } else {
      lines.push(`At ${percent} %, version ${version} answers ${number.format(canary.length)} of ${number.format(found.items.length)} applications that called in the last ${found.days} days, with ${part} % of their requests.`);
      if (coming.length) lines.push(`To the canary: ${names(coming)}.`);
      if (going.length) lines.push(`Back to stable: ${names(going)}.`);
      if (!coming.length && !going.length) lines.push("Nobody moves.");
      const pinned = found.items.length - free.length;
      if (pinned) lines.push(`${number.format(pinned)} pinned, which no share moves.`);
      if (found.applications > found.items.length) lines.push(`Counted over the ${number.format(found.items.length)} busiest of ${number.format(found.applications)}.`);
    }
    lines.push("Raising the share never moves an application back.");
    return lines.map((line) => create("p", line));
  };

  const slider = (box) => {
    if (box.dataset.ready) return;
    box.dataset.ready = "1";
    const range = box.querySelector('input[type="range"]');
    const field = box.querySelector('input[type="number"]');
    const place = box.querySelector(".moves");
    const version = box.closest("form").querySelector("select");
    let callers = null;
    const show = () => {
      if (!callers || field.value === "" || !field.checkValidity()) return;
      place.replaceChildren(...moves(box, callers, Number(field.value), version.value));
    };
    range.addEventListener("input", () => { field.value = range.value; show(); });
    field.addEventListener("input", () => { if (field.checkValidity()) range.value = field.value; show(); });
    version.addEventListener("change", show);
    const fetched = async () => {
      try {
        const answer = await fetch(box.dataset.callers, { headers: { accept: "application/json" } });
        if (!answer.ok) throw new Error(String(answer.status));
        callers = await answer.json();
        show();
      } catch {
        place.append(create("p", "Who would move could not be loaded. The share can be set all the same."));
      }
    };
    fetched();
  };

  /* ---- steps ---- */

  const steps = (box) => {
    const button = box.querySelector("[data-add-step]");
    if (!button || box.dataset.ready) return;
    box.dataset.ready = "1";
    button.hidden = false;
    button.addEventListener("click", () => {
      const rows = box.querySelectorAll(".step-row");
      const last = rows[rows.length - 1];
      if (rows.length >= 20) { button.disabled = true; return; }
      const row = last.cloneNode(true);
      for (const input of row.querySelectorAll("input")) {
        input.name = input.name.replace(/\.\d+\./, `.${rows.length}.`);
        input.setAttribute("aria-label", input.getAttribute("aria-label").replace(/\d+$/, String(rows.length + 1)));
        input.value = "";
        input.removeAttribute("aria-invalid");
        input.removeAttribute("aria-describedby");
      }
      for (const error of row.querySelectorAll(".error")) error.remove();
      last.after(row);
      row.querySelector("input").focus();
    });
  };

  const prepare = (root) => {
    root.querySelectorAll?.("[data-share]").forEach(slider);
    root.querySelectorAll?.("[data-steps]").forEach(steps);
  };
  document.addEventListener("DOMContentLoaded", () => prepare(document.body));
  document.addEventListener("htmx:load", (event) => prepare(event.detail.elt));
})();
