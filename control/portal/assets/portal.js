/* What every page does beside htmx: tokens of forms, copying, dialogs, tabs, local times.
   Pages work without it; nothing here is inline, and nothing is evaluated. */
"use strict";

(() => {
  const announce = (text) => {
    const place = document.getElementById("announcer");
    if (place) place.textContent = text;
  };

  /* ---- htmx ---- */

  const token = () => document.querySelector('meta[name="csrf-token"]')?.content ?? "";

  document.addEventListener("htmx:configRequest", (event) => {
    const { verb, headers, parameters } = event.detail;
    if (verb !== "get") headers["X-CSRF-Token"] = token();
    /* A search's address names what was asked for, and no field that was left alone. */
    else for (const name of Object.keys(parameters)) if (parameters[name] === "") delete parameters[name];
  });
  const unreachable = () => {
    const place = document.getElementById("notices");
    if (!place) return;
    const notice = document.createElement("div");
    notice.className = "notice bad";
    notice.setAttribute("role", "alert");
    notice.textContent = "The server does not answer. Nothing was changed; try again in a moment.";
    place.replaceChildren(notice);
  };
  document.addEventListener("htmx:sendError", unreachable);
  document.addEventListener("htmx:timeout", unreachable);

  /* ---- clicks that pages declare ---- */

  const copy = async (button) => {
    const source = document.getElementById(button.dataset.copy);
    if (!source) return;
    const text = "value" in source && source.value !== undefined ? source.value : source.textContent;
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      /* Without TLS browsers give no clipboard: the text is marked, so that it can be copied. */
      const range = document.createRange();
      range.selectNodeContents(source);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      done = document.execCommand("copy");
    }
    const before = button.dataset.label ?? button.textContent;
    button.dataset.label = before;
    button.textContent = done ? "Copied" : "Press Ctrl+C";
    announce(done ? "Copied" : "The text is marked: press Control C to copy it");
    setTimeout(() => { button.textContent = before; }, 1800);
  };

  document.addEventListener("click", (event) => {
    const copying = event.target.closest("[data-copy]");
    if (copying) { copy(copying); return; }
    if (event.target.closest("[data-print]")) { print(); return; }
    const opening = event.target.closest("[data-dialog]");
    if (opening) {
      const dialog = document.getElementById(opening.dataset.dialog);
      if (dialog?.showModal) { event.preventDefault(); dialog.showModal(); }
      return;
    }
    const closing = event.target.closest("[data-close]");
    if (closing) {
      const dialog = closing.closest("dialog");
      if (dialog?.open) { event.preventDefault(); dialog.close(); }
      return;
    }
    if (event.target instanceof HTMLDialogElement && event.target.open) event.target.close();
  });

  /* A form that leaves the page is sent once. */
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || form.hasAttribute("hx-post") || event.defaultPrevented) return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "1";
    form.classList.add("htmx-request");
  });
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) {
      delete form.dataset.sent;
      form.classList.remove("htmx-request");
    }
  });

  /* Selects and boxes that send their form when they change. */
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit]")) event.target.form?.requestSubmit();
  });

  /* A range says its value in the <output for="its id">. */
  document.addEventListener("input", (event) => {
    if (event.target.type !== "range" || !event.target.id) return;
    const shown = document.querySelector(`output[for="${CSS.escape(event.target.id)}"]`);
    if (shown) shown.textContent = event.target.value + (event.target.dataset.unit ?? "");
  });

  /* ---- tabs (the ARIA pattern): <div data-tabs> with <section data-tab="Label"> in it ---- */

  let counted = 0;
  const tabs = (box) => {
    const panels = [...box.querySelectorAll(":scope > [data-tab]")];
    if (panels.length < 2 || box.dataset.ready) return;
    box.dataset.ready = "1";
    const list = document.createElement("div");
    list.className = "tabs";
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", box.dataset.tabs || "Views");
    const buttons = panels.map((panel) => {
      const button = document.createElement("button");
      counted += 1;
      panel.id ||= `panel-${counted}`;
      button.id = `tab-${counted}`;
      button.type = "button";
      button.textContent = panel.dataset.tab;
      button.setAttribute("role", "tab");
      button.setAttribute("aria-controls", panel.id);
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", button.id);
      panel.querySelector(":scope > .tab-title")?.setAttribute("hidden", "");
      return button;
    });
    const select = (index, focus) => {
      buttons.forEach((button, at) => {
        const on = at === index;
        button.setAttribute("aria-selected", String(on));
        button.tabIndex = on ? 0 : -1;
        panels[at].hidden = !on;
      });
      if (focus) buttons[index].focus();
    };
    list.addEventListener("click", (event) => {
      const index = buttons.indexOf(event.target);
      if (index >= 0) select(index, true);
    });
    list.addEventListener("keydown", (event) => {
      const at = buttons.indexOf(event.target);
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      select((to + buttons.length) % buttons.length, true);
    });
    list.append(...buttons);
    box.prepend(list);
    const linked = panels.findIndex((panel) => `#${panel.id}` === location.hash);
    select(linked >= 0 ? linked : Math.max(panels.findIndex((panel) => "selected" in panel.dataset), 0), false);
  };

  const prepare = (root) => {
    if (root.matches?.("[data-tabs]")) tabs(root);
    root.querySelectorAll?.("[data-tabs]").forEach(tabs);
    root.querySelectorAll?.("dialog[data-open]").forEach((dialog) => {
      delete dialog.dataset.open;
      if (!dialog.open) dialog.showModal();
    });
  };
  document.addEventListener("DOMContentLoaded", () => {
    prepare(document.body);
    document.documentElement.dataset.ready = "1";
  });
  document.addEventListener("htmx:load", (event) => prepare(event.detail.elt));
})();
