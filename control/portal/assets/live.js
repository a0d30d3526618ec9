/* Streams of server-sent events (the WHATWG's HTML standard, 9.2), for htmx's sse extension and for
   charts: both open them by htmx.createEventSource(address), and get what an EventSource would be.

   Browsers allow six connections to a host that speaks HTTP/1.1, over all of their tabs. So that live
   pages leave some for everything else, a page that nobody sees has none, those who listen to one
   address on a page share one, and SLOTS pages at most keep one open at once (the Web Locks API).
   Every further page asks for what there is every so often. So does every page where the browser has
   no locks, which is by plain HTTP from another machine.

   The event "signed-out" says that the session has ended: the page says so, and asks no more. */
"use strict";

(() => {
  const SLOTS = 3;
  const RETRY_MS = 2000;
  const LONGEST_RETRY_MS = 30000;
  const SIGNED_OUT = "signed-out";
  const streams = new Map();
  let over = false;

  /* What gives the slot back; null: it is another page's. */
  const taken = (name) => new Promise((resolve) => {
    navigator.locks.request(name, { ifAvailable: true }, (lock) =>
      lock ? new Promise((release) => { resolve(release); }) : resolve(null)).catch(() => resolve(null));
  });
  const slot = async () => {
    for (let at = 0; navigator.locks && at < SLOTS; at += 1) {
      const release = await taken(`tollway-live-${at}`);
      if (release) return release;
    }
    return null;
  };

  const pause = (milliseconds, signal) => new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });

  const fields = (block) => {
    const found = { name: "message", data: [], retry: null };
    for (const line of block.split("\n")) {
      const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
      if (field === "event") found.name = value;
      else if (field === "data") found.data.push(value);
      else if (field === "retry") found.retry = Number(value);
    }
    return found;
  };

  const signedIn = () => document.querySelector('form[action="/portal/logout"]') !== null;
  const signedOut = () => {
    if (over) return;
    over = true;
    for (const stream of streams.values()) stream.pause();
    const link = document.createElement("a");
    link.href = `/portal/login?${new URLSearchParams({ next: location.pathname + location.search })}`;
    link.textContent = "Log in again";
    const notice = document.createElement("div");
    notice.className = "notice warn";
    notice.setAttribute("role", "alert");
    notice.append("Your session has ended. ", link, ".");
    document.getElementById("notices").replaceChildren(notice);
    document.dispatchEvent(new Event("signedout"));
  };

  class Stream {
    constructor(address) {
      this.address = address;
      this.sources = new Set();
      this.last = new Map();
      this.ending = null;
    }

    go() {
      if (this.ending || over || document.hidden) return;
      this.ending = new AbortController();
      this.run(this.ending.signal);
    }

    pause() {
      this.ending?.abort();
      this.ending = null;
    }

    async run(signal) {
      let failures = 0;
      while (!signal.aborted) {
        const release = await slot();
        let rest = RETRY_MS;
        try {
          rest = await this.read(signal, release !== null);
          failures = 0;
        } catch {
          if (!signal.aborted) this.tell(new Event("error"), EventSource.CONNECTING);
          rest = Math.min(RETRY_MS * 2 ** failures, LONGEST_RETRY_MS);
          failures += 1;
        } finally {
          release?.();
        }
        await pause(rest, signal);
      }
    }

    /* To the end of one answer, which is at once where this page may not keep it open (RFC 7240, 4.3).
       Returns after how long to ask again. */
    async read(signal, keeps) {
      const headers = {
        accept: "text/event-stream",
        ...(keeps ? {} : { prefer: "wait=0" }),
        ...(signedIn() ? { "tollway-signed-in": "1" } : {}),
      };
      const answer = await fetch(this.address, { headers, signal, cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      this.tell(new Event("open"), EventSource.OPEN);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = RETRY_MS;
      let begun = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done || signal.aborted) return rest;
        const blocks = (begun + value).split("\n\n");
        begun = blocks.pop();
        for (const block of blocks) {
          const { name, data, retry } = fields(block);
          if (retry !== null) rest = retry;
          if (data.length && !signal.aborted) this.take(name, data.join("\n"));
        }
      }
    }

    /* What is shown already is not shown again: each answer begins with all that there is. */
    take(name, data) {
      if (name === SIGNED_OUT) { signedOut(); return; }
      if (this.last.get(name) === data) return;
      this.last.set(name, data);
      this.tell(new MessageEvent(name, { data }));
    }

    tell(event, state) {
      for (const source of [...this.sources]) source.take(event, state);
    }
  }

  class Source extends EventTarget {
    constructor(address) {
      super();
      this.url = address;
      this.readyState = EventSource.CONNECTING;
      this.onopen = this.onerror = null;
      if (!streams.has(address)) streams.set(address, new Stream(address));
      streams.get(address).sources.add(this);
      streams.get(address).go();
    }

    take(event, state) {
      if (state !== undefined) this.readyState = state;
      const copy = new event.constructor(event.type, { data: event.data });
      this.dispatchEvent(copy);
      this[`on${event.type}`]?.(copy);
    }

    close() {
      this.readyState = EventSource.CLOSED;
      const stream = streams.get(this.url);
      if (!stream?.sources.delete(this) || stream.sources.size) return;
      stream.pause();
      streams.delete(this.url);
    }
  }

  htmx.createEventSource = (address) => new Source(address);
  document.addEventListener("visibilitychange", () => {
    for (const stream of streams.values()) {
      if (document.hidden) stream.pause();
      else stream.go();
    }
  });
})();
