/* Hands a key that is shown once to the form that tries it: kept by the browser for this tab alone,
   until the tab is closed. It never goes into a URL or into a page. */
"use strict";

(() => {
  const PLACE = "tollway.key";
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-hand-over]");
    if (!link) return;
    const secret = document.getElementById(link.dataset.handOver)?.textContent.trim();
    if (secret) sessionStorage.setItem(PLACE, secret);
  });
})();
