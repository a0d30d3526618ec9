/* Brings files in pieces, resumes where it was interrupted, and shows how far it is.

   <form data-upload="/portal/publish/uploads" data-max="bytes" data-next="/portal/…/register">
     <div class="drop"><input type="file" …></div> <p data-said></p> <progress hidden></progress>
     <button type="button" data-cancel hidden>
   The address in data-next gets artifact=DIGEST, size and name. With data-keep="FIELD" in its place
   the upload stays one: its id goes into the form's hidden field, and the form is sent as any other.
   The form hears of a file that was chosen by the event "filechosen". */
"use strict";

(() => {
  const PIECE = 4 * 1024 * 1024;
  const RETRIES = 5;
  const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });
  const token = () => document.querySelector('meta[name="csrf-token"]').content;
  const size = (bytes) =>
    new Intl.NumberFormat("en", { style: "unit", unit: "megabyte", maximumFractionDigits: 1 })
      .format(bytes / 1e6);

  class Refused extends Error {
    constructor(answer) { super(answer.detail); this.answer = answer; }
  }

  const ask = async (path, options, signal) => {
    const headers = { "X-CSRF-Token": token(), ...options.headers };
    const response = await fetch(path, { ...options, headers, signal, redirect: "error" });
    const answer = await response.json();
    if (!response.ok) throw new Refused({ ...answer, status: response.status });
    return answer;
  };

  class Upload {
    constructor(form) {
      this.form = form;
      this.at = form.dataset.upload;
      this.kept = form.elements[form.dataset.keep];
      this.input = form.querySelector('input[type="file"]');
      this.drop = form.querySelector(".drop");
      this.said = form.querySelector("[data-said]");
      this.bar = form.querySelector("progress");
      this.cancelled = form.querySelector("[data-cancel]");
      this.input.addEventListener("change", () => this.take(this.input.files[0]));
      this.cancelled.addEventListener("click", () => this.stopping?.abort());
      for (const name of ["dragenter", "dragover"]) {
        this.drop.addEventListener(name, (event) => {
          event.preventDefault();
          this.drop.classList.add("over");
        });
      }
      for (const name of ["dragleave", "drop"]) {
        this.drop.addEventListener(name, () => this.drop.classList.remove("over"));
      }
      this.drop.addEventListener("drop", (event) => {
        event.preventDefault();
        this.take(event.dataTransfer.files[0]);
      });
      addEventListener("beforeunload", (event) => { if (this.stopping) event.preventDefault(); });
    }

    say(text, bad = false) {
      this.said.textContent = text;
      this.said.classList.toggle("bad", bad);
    }

    show(label, done, whole) {
      this.bar.hidden = false;
      this.bar.value = whole ? done / whole : 1;
      this.say(`${label}: ${size(done)} of ${size(whole)}`);
    }

    async take(file) {
      if (!file || this.stopping) return;
      if (file.size > Number(this.form.dataset.max)) {
        this.say(`${file.name} has ${size(file.size)}; at most ${size(Number(this.form.dataset.max))} are taken.`, true);
        return;
      }
      if (!file.size) { this.say(`${file.name} is empty.`, true); return; }
      this.form.dispatchEvent(new CustomEvent("filechosen", { detail: file }));
      this.stopping = new AbortController();
      this.working(true);
      try {
        const digest = await this.digest(file);
        const id = await this.bring(file, digest);
        if (this.kept) { this.keep(file, id); return; }
        this.say("It is there. Reading its inputs and outputs …");
        this.stopping = null;
        const query = new URLSearchParams({ artifact: digest, size: file.size, name: file.name.slice(0, 200) });
        location.assign(`${this.form.dataset.next}?${query}`);
      } catch (error) {
        const stopped = error.name === "AbortError";
        this.say(stopped ? "Stopped. Choose the file again to go on where it was." : error.message, !stopped);
        this.bar.hidden = true;
      } finally {
        this.stopping = null;
        this.working(false);
        this.input.value = "";
      }
    }

    working(on) {
      this.input.disabled = on;
      this.cancelled.hidden = !on;
      const sending = this.form.querySelector('button[type="submit"]');
      if (sending) sending.disabled = on;
    }

    keep(file, id) {
      this.kept.value = id;
      const name = this.form.elements.file;
      if (name) name.value = file.name.slice(0, 200);
      if (this.form.elements.rows) this.form.elements.rows.value = ""; // the last choice counts
      this.bar.hidden = true;
      this.say(`${file.name} is there: ${size(file.size)}.`);
    }

    async digest(file) {
      const made = new Sha256();
      for (let at = 0; at < file.size; at += PIECE) {
        this.stopping.signal.throwIfAborted();
        made.update(new Uint8Array(await file.slice(at, at + PIECE).arrayBuffer()));
        this.show("Taking its digest", Math.min(at + PIECE, file.size), file.size);
        await pause(0);
      }
      return `sha256:${made.hex()}`;
    }

    /* An upload that was begun before, in this browser, goes on. */
    async begun(digest, whole) {
      const signal = this.stopping.signal;
      const key = `tollway-upload-${digest}`;
      const known = sessionStorage.getItem(key);
      if (known) {
        try {
          return { key, id: known, ...await ask(`${this.at}/${known}`, {}, signal) };
        } catch (error) {
          if (!(error instanceof Refused)) throw error;
        }
      }
      const body = JSON.stringify({ digest, size: whole, fresh: Boolean(this.kept) });
      const made = await ask(this.at, { method: "POST", body, headers: { "Content-Type": "application/json" } }, signal);
      if (made.id) sessionStorage.setItem(key, made.id);
      return { key, ...made };
    }

    async bring(file, digest) {
      const signal = this.stopping.signal;
      const upload = await this.begun(digest, file.size);
      if (upload.exists) return "";
      const path = `${this.at}/${upload.id}`;
      let { offset } = upload;
      let failures = 0;
      while (offset < file.size) {
        this.show("Uploading", offset, file.size);
        try {
          const headers = { "Upload-Offset": String(offset), "Content-Type": "application/octet-stream" };
          const body = file.slice(offset, offset + PIECE);
          ({ offset } = await ask(path, { method: "PATCH", body, headers }, signal));
          failures = 0;
        } catch (error) {
          if (error.name === "AbortError") throw error;
          const refused = error instanceof Refused && error.answer.status < 500 && error.answer.status !== 409;
          failures += 1;
          if (refused || failures > RETRIES) throw error;
          this.say(`The connection broke at ${size(offset)}; trying again …`);
          await pause(500 * 2 ** failures);
          ({ offset } = await ask(path, {}, signal).catch(() => ({ offset })));
        }
      }
      if (this.kept) return upload.id;
      this.show("Checking the digest", file.size, file.size);
      await ask(`${path}/complete`, { method: "POST" }, signal);
      sessionStorage.removeItem(upload.key);
      return upload.id;
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const form of document.querySelectorAll("form[data-upload]")) new Upload(form);
  });
})();
